"""A model that can be handed to another lab: one folder with an ensemble's parameters, all that it takes to feed it, and its card.

No slide's name and no path leaves the lab with it.
"""

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors import safe_open
from safetensors.numpy import load_file, save

from roformermil import __version__
from roformermil.bags.leakage import read_findings
from roformermil.cohort.slide_table import read_slide_table
from roformermil.deployment.model_card import FEATURES, ModelCard, TrainedOn, render_card
from roformermil.errors import Status
from roformermil.evaluation.cautions import cautions
from roformermil.evaluation.predictions import FoldResult, out_of_fold, read_predictions
from roformermil.evaluation.summary import by_bootstrap, fold_metrics, summarise
from roformermil.features.store import read_attributes
from roformermil.runtime.files import atomic_path, file_sha256, write_text
from roformermil.runtime.provenance import run_metadata

OF_SLIDES = "features"  # of a model file's metadata, what names slides
FIGURES = ["metric", "mean", "std", "ci_low", "ci_high", "folds"]


def export_model(predictions: list[Path], data: Path, stores: Path, settings: dict[str, Any], out: Path) -> None:
    """Write the folder `out`: `fold_{k}.safetensors`, `model.json`, `README.md`.

    predictions: every fold's predictions.csv of one model, each beside its model.safetensors; data: folder with the data
    set's slides.csv and leakage.csv; stores: its feature stores; settings: sections `tissue`, `tiles` and `encoder` of the
    configuration.
    """
    results = [FoldResult.at(path) for path in predictions]
    found = out_of_fold(results)
    summary = summarise(fold_metrics(results)[0], by_bootstrap(found))
    statuses = read_slide_table(data / "slides.csv")
    slides = [row for row in statuses if row.status == Status.OK]
    findings = [
        replace(f, detail=f"{f.found} found") for f in read_findings(data / "leakage.csv")
    ]  # details name patients
    used = read_attributes(stores / f"{slides[0].slide_id}.zarr")
    with safe_open(results[0].path.with_name("model.safetensors"), "np") as file:
        said = file.metadata()
    table = pd.concat([read_predictions(result.path)[0] for result in results]).drop_duplicates("slide_id")
    with atomic_path(out) as scratch:
        scratch.mkdir()
        for result in results:
            _copy(result.path.with_name("model.safetensors"), scratch / f"fold_{result.fold}.safetensors")
        card = ModelCard(
            roformermil=__version__,
            name=f"{results[0].dataset}, {results[0].model}",
            model=json.loads(said["model"]),
            classes=json.loads(said["classes"]),
            parameters=int(said["parameters"]),
            members={path.name: file_sha256(path) for path in sorted(scratch.iterdir())},
            features={name: used.get(name) for name in FEATURES},
            settings={name: _without_paths(section) for name, section in settings.items()},
            trained_on=TrainedOn(
                dataset=results[0].dataset,
                slides=len(table),
                patients=table.patient_id.nunique(),
                labels=Counter(table.label),
                tiles=_spread([row.tiles or 0 for row in slides]),
                mpp=_spread([row.mpp for row in slides if row.mpp]),
            ),
            results=[
                {name: _known(value) for name, value in row.items()} for row in summary[FIGURES].to_dict("records")
            ],
            cautions=cautions(found[0], statuses, findings),
            run=run_metadata(),
        )
        write_text(scratch / "model.json", card.model_dump_json(indent=1) + "\n")
        write_text(scratch / "README.md", render_card(card))


def _copy(model: Path, target: Path) -> None:
    """A fold's model without what names its slides."""
    with safe_open(model, "np") as file:
        said = {name: value for name, value in file.metadata().items() if name != OF_SLIDES}
    target.write_bytes(save(load_file(model), said))


def _without_paths(section: dict[str, Any]) -> dict[str, Any]:
    return section | ({"weights": Path(section["weights"]).name} if section.get("weights") else {})


def _spread(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    return {
        name: round(float(of(values)), 4) for name, of in (("least", np.min), ("median", np.median), ("most", np.max))
    }


def _known(value: Any) -> Any:
    """JSON has no NaN."""
    return None if isinstance(value, float) and math.isnan(value) else value
