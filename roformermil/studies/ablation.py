"""The ablation's table: each variant's metrics by part, tissue density and slide size, with shuffled positions, and its
difference from the varied model for the same patients. Computed from the folds' predictions alone."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from roformermil.bags.folds import PARTS, read_folds
from roformermil.bags.patients import slides_of_bags
from roformermil.config import Config
from roformermil.config.base import read_settings
from roformermil.evaluation.cautions import has_few_tests
from roformermil.evaluation.consistency import read_results
from roformermil.evaluation.fold_results import FoldResult
from roformermil.evaluation.intervals import degrees_of_freedom, jackknife_interval
from roformermil.evaluation.learning import count_plateaus
from roformermil.evaluation.notes import dataset_notes
from roformermil.evaluation.pooled import POOLED
from roformermil.evaluation.predictions import KEYS, out_of_fold
from roformermil.evaluation.summary import fold_metrics, metrics_without_patients, summarise, summary_table
from roformermil.features.store import read_grid
from roformermil.report.plots import save_plot
from roformermil.runtime.files import write_text
from roformermil.runtime.provenance import write_provenance
from roformermil.studies.ablation_text import ablation_text
from roformermil.studies.plots import plot_ablation
from roformermil.studies.strata import STRATA, split_by_strata
from roformermil.studies.variants import list_variants

Selection = Mapping[str, set[str]] | None  # each data set's slide ids; None: all
DIFFERENCE = ["base_difference", "base_low", "base_high"]


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
    configured = list_variants(settings) if settings else []
    models = [*settings.models, *(one.model for one in configured)] if settings else []
    trainings = {one.model.id: one.training for one in configured}
    folders = [folder.parents[1] for folder in stores.values()]
    results = read_results(predictions, folders, settings, models, trainings)
    selected = [
        compare_variants(results, base, part, slides).assign(part=part, slides=name)
        for part, name, slides in select_slides(results, stores)
    ]
    table = pd.DataFrame(variants, columns=["axis", "name", "model"]).merge(pd.concat(selected), on="model")
    table = table.merge(describe_trainings(results), on=KEYS)
    task = results[0].task
    table = table[table.metric.isin((*task.compared, POOLED))]
    write_text(out / "ablation.csv", table.to_csv(index=False, lineterminator="\n"))
    tested = [one for one in out_of_fold(results) if one.model == base]
    few = {(one.dataset, one.encoder) for one in tested if has_few_tests(one)}
    notes = {group: of_group.lines for group, of_group in dataset_notes(tested, folders).items()}
    write_text(out / "ablation.md", ablation_text(table, base, notes, few))
    save_plot(plot_ablation(table, base), out / "ablation.png")
    write_provenance(out / "ablation_provenance.json", config)


def select_slides(results: list[FoldResult], stores: Mapping[str, Path]) -> Iterator[tuple[str, str, Selection]]:
    """What to evaluate, all of each part and then test strata: part, name of the slides (patients, where
    these are the unit), and the ids."""
    for part in PARTS:
        yield part, "all", None
    strata = {}
    for dataset, folder in stores.items():
        bags = slides_of_bags(read_folds(folder.parents[1] / "folds.csv"), results[0].unit)
        grids = {bag: [read_grid(folder / f"{slide}.zarr") for slide in slides] for bag, slides in bags.items()}
        strata[dataset] = split_by_strata(grids)
    for name in STRATA:
        yield "test", name, {dataset: strata[dataset][name] for dataset in strata}


def compare_variants(results: list[FoldResult], base: str, part: str, slides: Selection) -> pd.DataFrame:
    """Each model's rows as in summary.csv, and DIFFERENCE: its difference from `base` with the interval over patients.

    A fold without all classes does not count. Training slides have no intervals, which are of slides that were not trained
    on, and no DIFFERENCE. Without slides there are no rows.
    """
    metrics, _ = fold_metrics(results, part, slides)
    if part == "train":
        return summarise(metrics, lambda *_: (np.nan, np.nan))
    models = out_of_fold(results, part)
    if slides is not None:
        models = [one.select(np.isin(one.slides, list(slides[one.dataset]))) for one in models]
        models = [one for one in models if len(one.slides)]
    if not models:
        return pd.DataFrame(columns=[*KEYS, "metric"])
    keys = [model.key for model in models]
    metrics = metrics[pd.MultiIndex.from_frame(metrics[KEYS]).isin(keys)]
    left_out = {model.key: metrics_without_patients(model) for model in models}
    rows = []
    for model in models:
        for metric, values in left_out[model.key].items():
            difference = values - left_out[model.dataset, model.encoder, base][metric]
            bounds = (-1.0, 1.0) if metric == POOLED else model.task.difference_bounds(metric)
            interval = jackknife_interval(difference, degrees_of_freedom(model, metric), bounds=bounds)
            rows.append((*model.key, metric, difference[0], *interval))
    differences = pd.DataFrame(rows, columns=[*KEYS, "metric", *DIFFERENCE])
    return summary_table(metrics, models).merge(differences, on=[*KEYS, "metric"])


def describe_trainings(results: list[FoldResult]) -> pd.DataFrame:
    """Of each model its number of parameters, of trainings, and of those that never left their plateau."""
    parameters = {result.key: int(result.metadata["parameters"]) for result in results}
    rows = [(*key, parameters[key], count, stuck) for key, (stuck, count) in count_plateaus(results).items()]
    return pd.DataFrame(rows, columns=[*KEYS, "parameters", "trainings", "on_plateau"])
