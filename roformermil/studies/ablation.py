"""The ablation's table: every arm's figures by part, tissue density and slide size, and its difference from the varied
model on the same folds. Computed from the folds' predictions alone."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from safetensors import safe_open

from roformermil.bags.folds import PARTS
from roformermil.evaluation.intervals import corrected_interval
from roformermil.evaluation.predictions import KEYS, TEXT, FoldResult, out_of_fold
from roformermil.evaluation.summary import by_folds, fold_metrics, interval_text, summarise
from roformermil.evaluation.tables import dataset_notes
from roformermil.features.store import read_grid
from roformermil.runtime.files import write_text
from roformermil.studies.plots import plot_ablation
from roformermil.studies.strata import STRATA, split_by_strata

METRICS = ("auroc", "average_precision")


class VariantName(NamedTuple):
    """An arm without its settings: where it stands in the table, and the id of its model in the results."""

    axis: str
    name: str
    model: str


def write_ablation(
    predictions: list[Path], arms: list[VariantName], base: str, stores: Mapping[str, Path], out: Path
) -> None:
    """Write `ablation.csv`, `ablation.md` and `ablation.png` into `out`.

    predictions: predictions.csv of every fold of every arm, each beside its model.safetensors. base: id of the varied
    model. stores: each data set's folder of feature stores (in its results, where slides.csv and leakage.csv are), from which size
    and density of its slides are taken.
    """
    results = [FoldResult.at(path) for path in predictions]
    table = pd.concat(
        [
            compare_variants(results, base, part, slides).assign(part=part, slides=name)
            for part, name, slides in selections(results, stores)
        ]
    )
    table = pd.DataFrame(arms).merge(table, on="model")
    table.insert(3, "parameters", table.model.map(parameters(results)))
    table = table[table.metric.isin(METRICS)]
    write_text(out / "ablation.csv", table.to_csv(index=False, lineterminator="\n"))
    found = [one for one in out_of_fold(results) if one.model == base]
    notes = dataset_notes(found, [folder.parents[1] for folder in stores.values()])
    write_text(out / "ablation.md", markdown(table, base, notes))
    plot_ablation(table, base, out / "ablation.png")


def selections(
    results: list[FoldResult], stores: Mapping[str, Path]
) -> Iterator[tuple[str, str, Mapping[str, set[str]] | None]]:
    """What is looked at: part, a name, and each data set's slides (None: all). Parts whole, then the test part's halves."""
    for part in PARTS:
        yield part, "all", None
    slides: dict[str, set[str]] = {dataset: set() for dataset in stores}
    for result in results:  # given folds need not have every slide in every fold
        slides[result.dataset] |= set(pd.read_csv(result.path, dtype=TEXT).slide_id)
    sides = {
        dataset: split_by_strata({s: read_grid(stores[dataset] / f"{s}.zarr") for s in slides[dataset]})
        for dataset in slides
    }
    for side in STRATA:
        yield "test", side, {dataset: sides[dataset][side] for dataset in sides}


def compare_variants(
    results: list[FoldResult], base: str, part: str, slides: Mapping[str, set[str]] | None
) -> pd.DataFrame:
    """Mean, interval, and paired difference from `base`, of each arm. A fold without both classes does not count."""
    metrics, sizes = fold_metrics(results, part, slides)
    ratio = (sizes.test / sizes.train).to_dict()
    summary = summarise(metrics, by_folds(ratio))
    if part == "train":  # the interval is that of a mean over slides that were not trained on
        summary[["ci_low", "ci_high"]] = np.nan
    values = metrics.pivot_table(index=["dataset", "encoder", "metric", "fold"], columns="model", values="value")
    rows = []
    for (dataset, encoder, metric), group in values.groupby(level=[0, 1, 2]):
        differences = group.sub(group[base], axis=0)
        for model, column in differences.items():
            known = column.dropna().to_numpy()
            mean = known.mean() if len(known) else np.nan
            low, high = corrected_interval(known, ratio[str(dataset)], bounds=(-1, 1))
            rows.append((dataset, encoder, model, metric, mean, low, high))
    columns = [*KEYS, "metric", "difference", "difference_low", "difference_high"]
    return summary.merge(pd.DataFrame(rows, columns=columns), on=[*KEYS, "metric"], how="left")


def parameters(results: list[FoldResult]) -> dict[str, int]:
    """Each model's number of parameters, as its files say."""
    counts = {}
    for result in results:
        if result.model not in counts:
            with safe_open(result.path.with_name("model.safetensors"), "np") as file:
                counts[result.model] = int(file.metadata()["parameters"])
    return counts


def _interval(row: Mapping, middle: str, low: str, high: str, form: str) -> str:
    return f"{row[middle]:{form}} " + interval_text({"ci_low": row[low], "ci_high": row[high]}, form)


def _half(row: Mapping, folds: int) -> str:
    """A mean, and over how many folds where that is not all."""
    if not row["folds"]:
        return "–"
    return f"{row['mean']:.2f}" + (f" ({row['folds']})" if row["folds"] < folds else "")


def markdown(table: pd.DataFrame, base: str, notes: Mapping[tuple[str, str], list[str]]) -> str:
    """A table a data set, its arms down: AUROC by part and by half, and the difference from `base` with its interval.

    notes: how many slides there are and what to be careful about, of each data set and encoder.
    """
    lines = ["AUROC, mean over folds [95% interval]; difference on the same folds", ""]
    auroc = table[table.metric == "auroc"]
    for (dataset, encoder), group in auroc.groupby(["dataset", "encoder"]):
        folds = group.folds.max()
        lines += [
            f"## {dataset} ({encoder}), {folds} folds, against {base}",
            "",
            "| axis | arm | parameters | train | validation | test | test − base | " + " | ".join(STRATA) + " |",
            "|---" * (7 + len(STRATA)) + "|",
        ]
        for (axis, name), arm in group.groupby(["axis", "name"], sort=False):
            cells = {(row["part"], row["slides"]): row for row in arm.to_dict("records")}
            test = cells["test", "all"]
            texts = [f"{cells[part, 'all']['mean']:.2f}" for part in PARTS[:2]]
            texts += [_interval(test, "mean", "ci_low", "ci_high", ".2f")]
            texts += [
                ""
                if test["model"] == base
                else _interval(test, "difference", "difference_low", "difference_high", "+.2f")
            ]
            texts += [_half(cells["test", side], folds) for side in STRATA]
            lines.append(f"| {axis} | {name} | {test['parameters']:,} | " + " | ".join(texts) + " |")
        lines += ["", *(f"- {line}" for line in notes[str(dataset), str(encoder)]), ""]
    lines += [
        "Train against validation and test shows overfitting. sparse, dense: test slides whose tiles have fewer or more",
        "neighbours than the data set's median slide; small, large: fewer or more tiles. A fold counts where it has every",
        "class: (k) says that k folds did where not all do. Average precision, and the halves' intervals: ablation.csv.",
    ]
    return "\n".join(lines) + "\n"
