"""The ablation's table: each variant's metrics by part, tissue density and slide size, and its difference from the
varied model on the same folds. Computed from the folds' predictions alone."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from roformermil.bags.folds import PARTS
from roformermil.config import Config
from roformermil.config.base import read_settings
from roformermil.evaluation.consistency import read_results
from roformermil.evaluation.fold_results import FoldResult
from roformermil.evaluation.intervals import corrected_interval
from roformermil.evaluation.predictions import KEYS, out_of_fold, read_table
from roformermil.evaluation.summary import by_folds, fold_metrics, interval_text, summarise
from roformermil.evaluation.tables import dataset_notes
from roformermil.features.store import read_grid
from roformermil.report.plots import save_plot
from roformermil.runtime.files import write_text
from roformermil.runtime.provenance import write_provenance
from roformermil.runtime.text import markdown_table
from roformermil.studies.plots import plot_ablation
from roformermil.studies.strata import STRATA, split_by_strata
from roformermil.studies.variants import list_variants

Selection = Mapping[str, set[str]] | None  # each data set's slide ids; None: all
METRICS = ("auroc", "average_precision")
HEADER = ("axis", "variant", "parameters", *PARTS, "test − base", *STRATA)
LEGEND = """A model that does better in training than in validation and test overfits. sparse, dense: test slides whose
tiles have fewer or more neighbours than in the data set's median slide; small, large: those with fewer or more tiles.
Only folds with slides of every class count; (k) says that k folds do where not all do. Average precision, and intervals
by stratum: ablation.csv."""


def write_ablation(
    predictions: list[Path],
    variants: list[tuple[str, str, str]],
    base: str,
    stores: Mapping[str, Path],
    out: Path,
    config: str = "{}",
) -> None:
    """Write `ablation.csv`, `ablation.md` and `ablation.png` into `out`, and `ablation_provenance.json` with the configuration.

    predictions: predictions.csv of every fold of every variant, each beside its model.safetensors. variants: axis, name
    and model's id of each. base: id of the varied model. stores: each data set's folder of feature stores in its
    results, which also contain slides.csv, folds.csv and leakage.csv; the size and density of slides come from the stores.
    config: JSON. Raises ModelError for folds that are not of this configuration and these slides.
    """
    settings = read_settings(Config, config, "--config") if json.loads(config) else None
    models = [*settings.models, *(variant.model for variant in list_variants(settings))] if settings else []
    folders = [folder.parents[1] for folder in stores.values()]
    results = read_results(predictions, folders, settings, models)
    selected = [
        compare_variants(results, base, part, slides).assign(part=part, slides=name)
        for part, name, slides in select_slides(results, stores)
    ]
    table = pd.DataFrame(variants, columns=["axis", "name", "model"]).merge(pd.concat(selected), on="model")
    parameters = {result.model: int(result.metadata["parameters"]) for result in results}
    table.insert(3, "parameters", table.model.map(parameters))
    table = table[table.metric.isin(METRICS)]
    write_text(out / "ablation.csv", table.to_csv(index=False, lineterminator="\n"))
    tested = [one for one in out_of_fold(results) if one.model == base]
    notes = dataset_notes(tested, folders)
    write_text(out / "ablation.md", ablation_markdown(table, base, notes))
    save_plot(plot_ablation(table, base), out / "ablation.png")
    write_provenance(out / "ablation_provenance.json", config)


def select_slides(results: list[FoldResult], stores: Mapping[str, Path]) -> Iterator[tuple[str, str, Selection]]:
    """What to evaluate, all of each part and then test strata: part, name of the slides, and the slides."""
    for part in PARTS:
        yield part, "all", None
    slides: dict[str, set[str]] = {dataset: set() for dataset in stores}
    for result in results:  # given folds need not have every slide in every fold
        slides[result.dataset] |= set(read_table(result.path).slide_id)
    grids = {name: {s: read_grid(stores[name] / f"{s}.zarr") for s in ids} for name, ids in slides.items()}
    strata = {dataset: split_by_strata(by_slide) for dataset, by_slide in grids.items()}
    for name in STRATA:
        yield "test", name, {dataset: strata[dataset][name] for dataset in strata}


def compare_variants(results: list[FoldResult], base: str, part: str, slides: Selection) -> pd.DataFrame:
    """Each variant's mean, interval and paired difference from `base`; a fold without all classes does not count."""
    metrics, sizes = fold_metrics(results, part, slides)
    ratio = (sizes.test / sizes.train).to_dict()
    summary = summarise(metrics, by_folds(ratio))
    if part == "train":  # the interval is that of a mean over slides that were not trained on
        summary[["ci_low", "ci_high"]] = np.nan
    values = metrics.pivot(index=["dataset", "encoder", "metric", "fold"], columns="model", values="value")
    rows = []
    for (dataset, encoder, metric), group in values.sub(values[base], axis=0).groupby(level=[0, 1, 2]):
        for model, column in group.items():
            differences = column.dropna().to_numpy()
            mean = differences.mean() if len(differences) else np.nan
            interval = corrected_interval(differences, ratio[str(dataset)], bounds=(-1, 1))
            rows.append((dataset, encoder, model, metric, mean, *interval))
    columns = [*KEYS, "metric", "difference", "difference_low", "difference_high"]
    return summary.merge(pd.DataFrame(rows, columns=columns), on=[*KEYS, "metric"], how="left")


def ablation_markdown(table: pd.DataFrame, base: str, notes: Mapping[tuple[str, str], list[str]]) -> str:
    """A Markdown table per data set, variants down: AUROC by part and stratum, and the difference from `base`.

    notes: each data set's and encoder's number of slides and cautions.
    """
    sections = ["AUROC, mean over folds [95% interval]; difference on the same folds"]
    for (dataset, encoder), group in table[table.metric == "auroc"].groupby(["dataset", "encoder"]):
        folds = group.folds.max()
        variants = group.groupby(["axis", "name"], sort=False)
        rows = [(*names, *_cells(variant, base, folds)) for names, variant in variants]
        title = f"## {dataset} ({encoder}), {folds} folds, against {base}"
        lines = "\n".join(f"- {line}" for line in notes[str(dataset), str(encoder)])
        sections += [title, markdown_table(HEADER, rows), lines]
    return "\n\n".join([*sections, LEGEND]) + "\n"


def _cells(variant: pd.DataFrame, base: str, folds: int) -> list[str]:
    """A variant's cells of the Markdown table, after its names."""
    rows = {(row["part"], row["slides"]): row for row in variant.to_dict("records")}
    test = rows["test", "all"]
    bounds = {"ci_low": test["difference_low"], "ci_high": test["difference_high"]}
    difference = f"{test['difference']:+.2f} {interval_text(bounds, '+.2f')}"
    return [
        f"{test['parameters']:,}",
        *(f"{rows[part, 'all']['mean']:.2f}" for part in PARTS[:2]),
        f"{test['mean']:.2f} {interval_text(test)}",
        "" if test["model"] == base else difference,
        *(_stratum_cell(rows["test", name], folds) for name in STRATA),
    ]


def _stratum_cell(row: Mapping[Any, Any], folds: int) -> str:
    """A mean, and over how many folds where that is not all."""
    if not row["folds"]:
        return "–"
    return f"{row['mean']:.2f}" + (f" ({row['folds']})" if row["folds"] < folds else "")
