"""The report's own pages. The opening one: can these numbers be trusted, what are they, how do they compare with the paper's.
And one of all tables."""

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

import pandas as pd

from roformermil.bags.folds import read_all_folds
from roformermil.bags.leakage import read_findings
from roformermil.cohort.slide_table import SlideRecord, read_slide_table
from roformermil.errors import Status
from roformermil.evaluation.paper import MODELS, paper_result
from roformermil.evaluation.predictions import KEYS
from roformermil.evaluation.summary import COLUMNS, interval_text, mean_text
from roformermil.report.plots.comparison import plot_comparisons
from roformermil.runtime.files import write_text

LISTED = 50  # lost slides a data set
STYLE = """<style>
.overview {font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 70em; margin: 1em}
.overview table {border-collapse: collapse; margin: .6em 0 1.4em}
.overview th, .overview td {border: 1px solid #ccc; padding: .25em .7em; text-align: left; vertical-align: top}
.overview th {background: #f2f2f2} .overview td.n {white-space: nowrap; font-variant-numeric: tabular-nums}
.overview h2 {font-size: 1.25em; margin: 1.2em 0 .3em} .overview small {color: #666}
.prose:has(.overview) {max-width: none} .flex:has(> .py-2 > .prose .overview) {flex-direction: column}
.items-center:has(.overview) {align-items: flex-start; justify-content: flex-start}
.overview.tables {max-width: none} .overview.tables :is(th, td) {font-size: 13px; padding: .2em .45em}
.overview .caution {background: #fff4d6; border-left: .4em solid #e0a100; padding: .5em 1em}
</style>"""


def write_pages(results: Path, data_sets: list[Path]) -> None:
    """Write `overview.html`, `tables.html` and `comparisons.png` into `results`, from the tables that `evaluate` wrote there.

    data_sets: folders that hold a data set's slides.csv, folds.csv and leakage.csv.
    """
    names = ("summary", "cautions", "classes", "comparisons", "calibration")
    summary, cautions, classes, comparisons, calibration = (pd.read_csv(results / f"{name}.csv") for name in names)
    class_names = {str(name): list(rows["class"].unique()) for name, rows in classes.groupby("dataset")}
    care = _cautions(list(dict.fromkeys(cautions.caution)))
    parts = [
        STYLE,
        '<div class="overview">',
        care,
        "<h2>Data</h2>",
        _data(data_sets, class_names),
        "<h2>Results</h2>",
        _results(summary, class_names),
        "<h2>Models compared</h2>",
        _comparisons(comparisons),
        "<h2>Slides</h2>",
        *[_slides(folder.name, read_slide_table(folder / "slides.csv")) for folder in data_sets],
        "<h2>Leak audit</h2>",
        _audit(data_sets),
        "<h2>Made with</h2>",
        _versions(json.loads((results / "provenance.json").read_text(encoding="utf-8"))["run"]),
        "</div>",
    ]
    write_text(results / "overview.html", "\n".join(parts) + "\n")
    ece = calibration[[*KEYS, "ece"]].drop_duplicates()
    titled = {
        "Summary": summary,
        "By class": classes,
        "Models compared": comparisons,
        "Expected calibration error": ece,
    }
    tables = [f"<h2>{title}</h2>{_frame(table)}" for title, table in titled.items()]
    write_text(
        results / "tables.html", "\n".join([STYLE, '<div class="overview tables">', care, *tables, "</div>"]) + "\n"
    )
    plot_comparisons(comparisons, results / "comparisons.png")


def _cautions(lines: list[str]) -> str:
    if not lines:
        return ""
    return '<div class="caution"><b>Read these numbers with care</b>' + _list(lines) + "</div>"


def _results(summary: pd.DataFrame, classes: Mapping[str, Sequence[str]]) -> str:
    """The paper's table: mean and standard deviation over folds, the interval, and beside them what the paper reports."""
    paper_has = any(paper_result(dataset, names, MODELS[0], COLUMNS[0][0]) for dataset, names in classes.items())
    rows = []
    for (dataset, encoder, model), group in summary.groupby(KEYS, sort=False):
        of_metric = group.set_index("metric").to_dict("index")
        row = [escape(f"{dataset} ({encoder})"), escape(str(model))]
        for metric, _ in COLUMNS:
            one, paper = of_metric[metric], paper_result(str(dataset), classes[str(dataset)], str(model), metric)
            row.append(f"{mean_text(one)} <small>{interval_text(one)}</small>")
            row += [f"{paper[0]:.2f} ± {paper[1]:.2f}" if paper else "–"] if paper_has else []
        rows.append(row)
    head = ["data set (encoder)", "model"]
    for _, title in COLUMNS:
        head += [title, "the paper's"] if paper_has else [title]
    note = (
        "Mean ± standard deviation over folds; in brackets the 95% interval by resampling patients (bootstrap). A figure that no "
        "resampling moves, such as a perfect one, has none. "
    )
    note += (
        "The paper's figures are those of arXiv 2310.01924, of its own folds, its own settings and ResNet-50 with ImageNet weights, "
        "whatever stands beside them."
        if paper_has
        else "None of these data sets is the paper's."
    )
    areas = summary[(summary.metric == "auroc") & (summary.ci_low <= 0.5) & (summary.ci_high >= 0.5)]
    guessing = [f"{row['model']} on {row['dataset']}" for row in areas.to_dict("records")]
    said = (
        f"<p>Intervals of AUROC that hold 0.5, what guessing reaches: {escape(', '.join(guessing))}.</p>"
        if guessing
        else ""
    )
    return f"<p>{note}</p>" + _table(head, rows) + said


def _data(data_sets: list[Path], classes: Mapping[str, Sequence[str]]) -> str:
    """Whom the figures are of: patients and slides by class, and how they are divided."""
    rows = []
    for folder in data_sets:
        divided, names = read_all_folds(folder / "folds.csv"), classes[folder.name]
        slides = {row.slide_id: row for row in divided}.values()  # once each, whatever the folds
        counted = []
        for name in names:
            of_class = [row.patient_id for row in slides if row.label == name]
            counted.append(f"{len(of_class)} {name} ({len(set(of_class))} patients)")
        folds, patients = len({row.fold for row in divided}), len({row.patient_id for row in slides})
        tested = sum(row.part == "test" for row in divided) / folds
        positive = names[1] if len(names) == 2 else "each against the rest"
        rows.append(
            [folder.name, str(len(slides)), str(patients), ", ".join(counted), str(folds), f"{tested:.1f}", positive]
        )
    head = ["data set", "slides", "patients", "slides by class", "folds", "test slides a fold", "positive class"]
    return (
        _table(head, [map(escape, row) for row in rows])
        + "<p>A slide is predicted to be of its most probable class.</p>"
    )


def _comparisons(table: pd.DataFrame) -> str:
    """AUROC differences that chance does not explain, said in a line each; all of them are in comparisons.csv."""
    table = table[(table.metric == "auroc") & (table.test == "corrected_t")]
    found = table[table.p_holm < 0.05]
    lines = [
        f"{row['dataset']}: {row['model']} is {'better' if row['difference'] > 0 else 'worse'} than {row['against']} by "
        f"{abs(row['difference']):.3f} AUROC [{row['ci_low']:+.3f}, {row['ci_high']:+.3f}], p = {row['p_holm']:.2g}"
        for row in found.to_dict("records")
    ]
    tested = int(table.p_holm.notna().sum())
    said = (
        f"{len(found)} of {tested} pairs of models differ at the 5% level (corrected resampled t-test, Holm's correction). "
        if tested
        else ""
    )
    said += "That the others do not is no proof that they are equal. " if len(found) < tested else ""
    if untested := len(table) - tested:
        said += f"{untested} cannot be tested: fewer than two folds, or the same difference in all of them. "
    return f"<p>{said}</p>" + _list(lines)


def _slides(name: str, rows: list[SlideRecord]) -> str:
    """How many slides are there, and each that is not, with its reason."""
    lost = [row for row in rows if row.status != Status.OK]
    tiles = pd.Series([row.tiles or 0 for row in rows if row.status == Status.OK])
    said = f"<p><b>{escape(name)}</b>: {len(tiles)} of {len(rows)} slides, {tiles.sum():,} tiles, median {tiles.median():,.0f} a slide.</p>"
    if not lost:
        return said
    shown = [
        [row.slide_id, "sheet" if row.status == Status.EXCLUDED else row.stage, row.status, row.message]
        for row in lost[:LISTED]
    ]
    more = f"<p>and {len(lost) - LISTED} more, in slides.csv</p>" if len(lost) > LISTED else ""
    return said + _table(["slide", "stage", "outcome", "reason"], [map(escape, row) for row in shown]) + more


def _audit(data_sets: list[Path]) -> str:
    rows = [
        [folder.name, finding.check, finding.outcome, finding.detail]
        for folder in data_sets
        for finding in read_findings(folder / "leakage.csv")
    ]
    return _table(["data set", "check", "outcome", "detail"], [map(escape, row) for row in rows])


def _versions(run: dict[str, str]) -> str:
    return _table(["", "version"], [(escape(name), escape(version)) for name, version in run.items() if version])


def _frame(table: pd.DataFrame) -> str:
    """A table of figures as it is, with three digits."""
    text = table.map(
        lambda value: "–" if pd.isna(value) else f"{value:.3f}" if isinstance(value, float) else escape(str(value))
    )
    return _table([name.replace("_", " ") for name in table.columns], text.itertuples(index=False))


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    body = "".join("<tr>" + "".join(f'<td class="n">{cell}</td>' for cell in row) + "</tr>" for row in rows)
    return "<table><tr>" + "".join(f"<th>{cell}</th>" for cell in head) + f"</tr>{body}</table>"


def _list(lines: list[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>" if lines else ""
