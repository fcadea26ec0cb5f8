"""`report.html`, the page in which people read a run: one file with its pictures, which needs no network and no JavaScript.
What it says is computed here as text and numbers; the templates lay it out and escape it."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from roformermil.bags.leakage import read_findings
from roformermil.evaluation.covariates import FILE as GAINS_FILE
from roformermil.evaluation.covariates import gain_sentences
from roformermil.evaluation.predictions import KEYS, read_table
from roformermil.evaluation.summary import POSITION
from roformermil.evaluation.summary_text import COLUMNS, METRIC_TITLES, patient_rows
from roformermil.report.pages.answers import (
    beside_the_paper,
    describe_comparisons,
    group_answers,
    scale_of,
    shown_metrics,
)
from roformermil.report.pages.data_sets import decisions_plot, describe_dataset, heat_maps, trained_on
from roformermil.report.pages.decisions import describe_decisions
from roformermil.report.pages.external import describe_external
from roformermil.report.pages.pictures import png_uri
from roformermil.report.pages.survival import describe_risk_groups
from roformermil.report.plots import save_plot
from roformermil.report.plots.comparison import plot_comparisons
from roformermil.report.plots.decisions import plot_decisions
from roformermil.runtime.files import remove, write_text
from roformermil.tasks import Classification, task_with

TABLES = ("summary", "cautions", "classes", "comparisons", "calibration", "external", "patients")
DECISION_TABLES = ("operating_points", "decisions", "decision_curves", "abstention", "probabilities")
LONG_ID = 24  # characters of an encoder's id in headings; longer ones are whole at the end of the page


def write_report(results: Path, datasets: Sequence[Path]) -> None:
    """Write `report.html`, `comparisons.png` and `plots/{dataset}_decisions.png` of each data set, from the tables in `results`.

    datasets: folders with a data set's slides.csv, folds.csv and leakage.csv. Plots, tissue outlines and heat maps are shown
    as far as there are such.
    """
    summary, cautions, by_class, comparisons, calibration, external, patients = (
        read_table(results / f"{name}.csv") for name in TABLES
    )
    decisions = {name: read_table(results / f"{name}.csv") for name in DECISION_TABLES}
    provenance = json.loads((results / "provenance.json").read_text(encoding="utf-8"))
    unit, trained = str(summary.level.iloc[0]), trained_on(datasets, provenance["config"])
    for folder in datasets:
        curves, abstention = (decisions[name] for name in ("decision_curves", "abstention"))
        own = (curves[curves.dataset == folder.name], abstention[abstention.dataset == folder.name])
        if len(own[0]):
            save_plot(plot_decisions(*own, unit, trained[folder.name]), decisions_plot(folder))
        else:
            remove(decisions_plot(folder))  # of external slides that had labels before
    task = task_with(summary.metric)
    classes = {str(name): rows["class"].unique().tolist() for name, rows in by_class.groupby("dataset")}
    run = provenance["run"]
    groups_of_risk = pd.DataFrame()
    if task.tables:
        groups_of_risk = read_table(results / "survival_groups.csv").astype({"fold": "Int64"})  # empty: of all folds
    save_plot(plot_comparisons(comparisons), results / "comparisons.png")
    groups = group_answers(summary)
    tasks = {name: Classification(tuple(names)) for name, names in classes.items()}
    described = {
        folder.name: describe_dataset(folder, tasks.get(folder.name, task), trained[folder.name]) for folder in datasets
    }
    for dataset in described.values() if not classes else ():
        dataset["size"].pop()  # the positive class
    folders = {folder.name: folder for folder in datasets}
    for group in groups:
        group["short_encoder"] = shorten_id(group["encoder"])
        names = [model["name"] for model in group["models"]]
        maps = {name: heat_maps(folders[group["dataset"]], group["encoder"], name) for name in names}
        group["heat_maps"] = {name: panels for name, panels in maps.items() if panels}
    content = {
        "name": run_name(results, datasets),
        "written": datetime.now().astimezone().strftime("%d %B %Y, %H:%M").lstrip("0"),
        "version": run["roformermil"] + (f" (commit {shorten_commit(run['commit'])})" if run["commit"] else ""),
        "groups": groups,
        "metrics": [METRIC_TITLES[name] for name in shown_metrics(summary.metric.unique().tolist())],
        "main": METRIC_TITLES[task.main],
        "scale": [f"{end:g}" for end in scale_of(task)],
        "chance": f"{task.chance:g}",
        "guess": task.guess,
        "lower_is_better": [METRIC_TITLES[name] for name in task.metrics if name in task.lower_is_better],
        "has_classes": bool(classes),
        "contribution": task.contribution,
        "risk_groups": describe_risk_groups(groups_of_risk),
        "seeds": (seeds := int(summary.seeds.max())),
        "as_first_predicted": _as_first_predicted(seeds, provenance["config"].get("folds", {}).get("repeats", 1)),
        "cautions": cautions.caution.unique().tolist(),
        "external": describe_external(external, datasets, trained) if any(trained.values()) else {},
        "paper": beside_the_paper(summary, classes),
        "paper_titles": [title for _, name in COLUMNS for title in (name, f"{name} in the paper")],
        "comparisons": describe_comparisons(comparisons),
        "gains": _covariate_gains(results / GAINS_FILE),
        "unit": unit,
        "patients": patient_rows(patients) if len(patients) else None,
        "differences": png_uri(results / "comparisons.png") if len(comparisons) else "",
        "decisions": describe_decisions(decisions, unit),
        "datasets": described,
        "findings": [
            (d.name, f.check, f.outcome, f.detail) for d in datasets for f in read_findings(d / "leakage.csv")
        ],
        "tables": _all_tables(
            summary, by_class, comparisons, calibration, external, decisions, described, groups_of_risk
        ),
        "encoders": [group["encoder"] for group in groups],
        "settings": _settings(provenance["config"]),
        "versions": [(name, version) for name, version in run.items() if version],
    }
    write_text(results / "report.html", _render("report.html.j2", content))


def _as_first_predicted(seeds: int, repeats: int) -> str:
    """What a caption adds where a slide has several predictions, of seeds or of repeats, and counts once."""
    first = " and ".join([*(["repeat"] if repeats > 1 else []), *(["seed"] if seeds > 1 else [])])
    return f", as the models of the first {first} predicted them" if first else ""


def run_name(results: Path, datasets: Sequence[Path]) -> str:
    """The name of the results' folder, or of the data sets where that is the default one."""
    name = results.resolve().name
    return ", ".join(folder.name for folder in datasets) if name == "results" else name


def _covariate_gains(table: Path) -> list[str]:
    """What covariates add to each model that uses them, where any does."""
    groups = gain_sentences(read_table(table)) if table.exists() else {}
    return [sentence for sentences in groups.values() for sentence in sentences]


def shorten_id(encoder: str) -> str:
    """An encoder's id of at most LONG_ID characters: the beginning of a long one, with `…`."""
    return encoder if len(encoder) <= LONG_ID else f"{encoder[: LONG_ID - 1]}…"


def shorten_commit(commit: str) -> str:
    """The first seven digits of a commit, and `+changes` where it has that."""
    digits, plus, changes = commit.partition("+")
    return digits[:7] + plus + changes


def _render(template: str, content: Mapping[str, Any]) -> str:
    loader = PackageLoader("roformermil.report.pages")
    jinja = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return jinja.get_template(template).render(content) + "\n"


def _all_tables(
    summary: pd.DataFrame,
    by_class: pd.DataFrame,
    comparisons: pd.DataFrame,
    calibration: pd.DataFrame,
    external: pd.DataFrame,
    decisions: Mapping[str, pd.DataFrame],
    datasets: Mapping[str, Mapping[str, Any]],
    groups_of_risk: pd.DataFrame,
) -> dict[str, tuple[list[str], list[list[str]]]]:
    """The tables with every number, by title: header and rows. Calibration only of data sets where it can be read."""
    summary = summary.drop(columns="level")
    several_seeds = summary.seeds.max() > 1
    readable = [name for name, dataset in datasets.items() if not dataset["calibration"]]
    tables = {
        "Every metric": summary.drop(columns=POSITION if several_seeds else [*POSITION, "seeds", "seed_std"]),
        "With tile positions shuffled": summary[summary.shuffled.notna()][[*KEYS, "metric", "mean", *POSITION]],
        "Each class against the rest": by_class,
        "Each pair of models": comparisons,
        "External validation": external,
        "Expected calibration error": calibration[calibration.dataset.isin(readable)][
            [*KEYS, "probabilities", "ece"]
        ].drop_duplicates(),
        "Operating points of each fold": decisions["operating_points"],
        "What operating points reach": decisions["decisions"],
        "Risk groups of each fold": groups_of_risk,
    }
    shown = {title: table for title, table in tables.items() if len(table)}
    return {title: (table.columns.tolist(), table.map(_cell_text).values.tolist()) for title, table in shown.items()}


def _cell_text(value: Any) -> str:
    if pd.isna(value):
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _settings(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The sections of the configuration that decide the numbers, each as `key: value, ...`; none where it is not known."""
    sections = {name: config[name] for name in ("tissue", "tiles", "folds", "training", "decisions") if name in config}
    lines = [
        (name, ", ".join(f"{key}: {_shown(value)}" for key, value in section.items() if value is not None))
        for name, section in sections.items()
    ]
    return [*lines, ("models", ", ".join(model["id"] for model in config["models"]))] if lines else []
