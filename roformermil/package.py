"""A model that can be handed to another lab: one folder with an ensemble's parameters, all that it takes to feed it, and what it
was trained on and how well it did, for programs (`model.json`) and for people (`README.md`, a model card)."""

import json
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from roformermil import __version__
from roformermil.evaluation.predictions import FoldResult, out_of_fold, read_predictions
from roformermil.evaluation.summary import fold_metrics, summarise, with_bootstrap
from roformermil.features.store import read_attributes
from roformermil.files import atomic_path, file_sha256, write_text
from roformermil.provenance import this_run
from roformermil.status import OK, read_status

FEATURES = ("encoder", "weights", "target_mpp", "tile_px")  # attributes of a store that a model's features must share


def package(predictions: list[Path], data: Path, stores: Path, settings: dict[str, Any], out: Path) -> None:
    """Write the folder `out`: `fold_{k}.safetensors`, `model.json`, `README.md`.

    predictions: every fold's predictions.csv of one model, each beside its model.safetensors; data: folder with the data
    set's slides.csv; stores: its feature stores; settings: sections `tissue`, `tiles` and `encoder` of the configuration.
    """
    results = [FoldResult.at(path) for path in predictions]
    metrics, sizes = fold_metrics(results)
    summary = with_bootstrap(summarise(metrics, (sizes.test / sizes.train).to_dict()), out_of_fold(results))
    slides = [row for row in read_status(data / "slides.csv") if row.status == OK]
    used = read_attributes(stores / f"{slides[0].slide_id}.zarr")
    with safe_open(results[0].path.with_name("model.safetensors"), "np") as file:
        said = file.metadata()
    table, _ = read_predictions(results[0].path)
    members = {f"fold_{result.fold}.safetensors": result.path.with_name("model.safetensors") for result in results}
    card = {
        "roformermil": __version__,
        "name": f"{results[0].dataset}, {results[0].model}",
        "model": json.loads(said["model"]),
        "classes": json.loads(said["classes"]),
        "parameters": int(said["parameters"]),
        "members": {name: file_sha256(path) for name, path in members.items()},
        "features": {name: used.get(name) for name in FEATURES},
        "settings": settings,
        "trained_on": {
            "dataset": results[0].dataset,
            "slides": len(slides),
            "patients": int(table.patient_id.nunique()),
            "labels": dict(Counter(table.label)),
            "tiles": dict(zip(("least", "median", "most"), _spread([row.tiles or 0 for row in slides]), strict=True)),
            "mpp": dict(zip(("least", "median", "most"), _spread([row.mpp or 0 for row in slides]), strict=True)),
        },
        "results": summary[["metric", "mean", "std", "ci_low", "ci_high", "folds"]].to_dict("records"),
        "run": this_run(),
    }
    with atomic_path(out) as scratch:
        scratch.mkdir()
        for name, path in members.items():
            _link(path, scratch / name)
        write_text(scratch / "model.json", json.dumps(card, indent=1) + "\n")
        write_text(scratch / "README.md", card_text(card))


def card_text(card: dict[str, Any]) -> str:
    """The model card, in Markdown."""
    data, features, tiles = card["trained_on"], card["features"], card["trained_on"]["tiles"]
    labels = ", ".join(f"{count} {name}" for name, count in data["labels"].items())
    rows = [
        f"| {row['metric']} | {row['mean']:.3f} ± {row['std']:.3f} | {row['ci_low']:.3f} to {row['ci_high']:.3f} |"
        for row in card["results"]
    ]
    warning = (
        ["", "**Its encoder's weights are random: it shows that the path works, and is of no other use.**"]
        if str(features["weights"]).startswith("random")
        else []
    )
    return "\n".join(
        [
            f"# {card['name']}",
            "",
            f"A whole-slide image classifier: {', '.join(card['classes'])}. Made by RoFormerMIL {card['roformermil']} "
            f"(arXiv 2310.01924), model `{card['model']['name']}`, {card['parameters']:,} parameters, an ensemble of "
            f"{len(card['members'])} (one a cross-validation fold).",
            *warning,
            "",
            "```bash",
            "roformermil predict slides/*.svs --model THIS_FOLDER --out predictions",
            "```",
            "",
            "## Trained on",
            "",
            f"{data['dataset']}: {data['slides']} slides of {data['patients']} patients ({labels}), {tiles['least']:,.0f} to {tiles['most']:,.0f} "
            f"tiles a slide (median {tiles['median']:,.0f}). Tiles of {features['tile_px']} px at {features['target_mpp']} um/px, encoded by "
            f"`{features['encoder']}` with weights `{str(features['weights'])[:19]}`; features of another encoder or scale are refused.",
            "",
            "## Results",
            "",
            "Cross-validation, each slide predicted by a model that did not see it: mean ± standard deviation over "
            f"{card['results'][0]['folds']} folds, and the 95% interval by a bootstrap of patients. The ensemble itself was not "
            "tested: no slide is new to all its members.",
            "",
            "| metric | mean ± std | 95% interval |",
            "|---|---|---|",
            *rows,
            "",
            "## Limits",
            "",
            "For research; not a medical device. Other scanners, stains, laboratories and populations than those it was trained on were not "
            "tested, nor were its probabilities calibrated for them.",
            "",
        ]
    )


def _spread(values: list[float]) -> list[float]:
    return [round(float(value), 4) for value in (np.min(values), np.median(values), np.max(values))]


def _link(source: Path, target: Path) -> None:
    """The same file under another name, where the disk can do that."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy(source, target)
