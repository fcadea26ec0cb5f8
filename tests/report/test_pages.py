"""The report's pages: our results beside the paper's, which models differ, and why to be careful."""

from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest

from roformermil.bags.leakage import Finding
from roformermil.cohort.slide_table import SlideRecord
from roformermil.evaluation.tables import write_tables
from roformermil.report.pages import write_pages
from tests.factories import NO_LEAK, SimulatedRun

LEAK = Finding("patients", "leak", 2, "2 patients are in two parts of a fold: p1, p2")
RECORDS = [
    *(SlideRecord(f"s{k}", Path(f"s{k}.svs"), tiles=100 + k) for k in range(29)),
    SlideRecord("odd", Path("odd.svs"), tiles=130, warnings="most of its border is <tissue>"),
    SlideRecord("lost", Path("lost.svs"), status="no_mpp", message="says <nothing>", stage="segment"),
]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The results folder, with pages, of a cohort of the paper and of one with three classes, whose folds leak; `abmil`
    guesses, `ro-abmil` does not, and `dsmil` predicts exactly what `ro-abmil` does."""
    run = SimulatedRun(tmp_path_factory.mktemp("run"))
    for name, classes, finding in (("camelyon16", ["normal", "tumor"], NO_LEAK), ("mine", ["1", "02", "c<d"], LEAK)):
        folds = run.add_dataset(name, classes, slides=30, folds=5, records=RECORDS, findings=[finding])
        run.add_model(name, folds, classes, "abmil", strength=0.0, seed=1)
        for model in ("ro-abmil", "dsmil"):
            run.add_model(name, folds, classes, model, strength=4.0, seed=2)
    write_report(run)
    return run.folder


@pytest.fixture(scope="module")
def overview(results):
    return read_sections(results / "overview.html")


@pytest.fixture(scope="module")
def seeded(tmp_path_factory):
    """The same of a run with two seeds per fold: shuffled positions make `ro-abmil` guess and change nothing for `transmil`."""
    run, classes = SimulatedRun(tmp_path_factory.mktemp("seeded")), ["a", "b"]
    folds = run.add_dataset("mine", classes, slides=60)
    for model, strength, shuffled in (("abmil", 2.0, None), ("ro-abmil", 2.0, 0.0), ("transmil", 2.0, 2.0)):
        run.add_model("mine", folds, classes, model, strength=strength, seeds=2, shuffled_strength=shuffled)
    write_report(run)
    return run.folder


def write_report(run):
    """Write a run's tables and pages; returns the sections of its overview."""
    write_tables(run.predictions, run.datasets, run.folder)
    write_pages(run.folder, run.datasets)
    return read_sections(run.folder / "overview.html")


def read_sections(path):
    """A page's elements by the heading above them, "" above the first. Fails where the page is not well-formed."""
    sections = {"": []}
    for element in ElementTree.fromstring(f"<page>{path.read_text()}</page>").find("div"):
        if element.tag == "h2":
            sections[element.text] = []
        else:
            sections[list(sections)[-1]].append(element)
    return sections


def text(elements):
    return " ".join(" ".join("".join(element.itertext()).split()) for element in elements)


def rows(elements):
    """The cells of the first table below its header."""
    return cells(elements)[1:]


def cells(elements):
    """The cells of the first table."""
    table = next(element for element in elements if element.tag == "table")
    return [[" ".join("".join(cell.itertext()).split()) for cell in row] for row in table.findall("tr")]


def test_each_result_is_beside_the_papers_and_models_that_may_be_guessing_are_named(results, overview):
    summary = pd.read_csv(results / "summary.csv").set_index(["dataset", "model", "metric"])
    for dataset, paper in {"camelyon16": ["0.90 ± 0.05", "0.82 ± 0.08"], "mine": ["–", "–"]}.items():
        (cells,) = (row[2:] for row in rows(overview["Results"]) if row[:2] == [f"{dataset} (net)", "ro-abmil"])
        assert cells[1:4:2] == paper
        for cell, metric in zip(cells[::2], ("auroc", "average_precision", "pooled_auroc"), strict=True):
            row = summary.loc[dataset, "ro-abmil", metric]
            spread = "" if metric == "pooled_auroc" else f" ± {row['std']:.2f}"
            interval = f"[{row.ci_low:.2f}, {row.ci_high:.2f}]" if row.ci_low == row.ci_low else "[no interval]"
            assert cell == f"{row['mean']:.2f}{spread} {interval}"
    assert "arXiv 2310.01924" in text(overview["Results"])
    guessing = summary.query("metric == 'auroc' and ci_low <= 0.5 <= ci_high")
    assert guessing.index.get_level_values("model").tolist() == ["abmil", "abmil"]
    sentence = "are not distinguishable from chance: their 95% intervals of AUROC include 0.5."
    assert f"abmil on camelyon16, abmil on mine {sentence}" in text(overview["Results"])


def test_each_model_that_uses_position_is_beside_itself_with_shuffled_positions(seeded):
    """`transmil` draws its predictions twice, so shuffling changes its AUROC by chance only."""
    summary = pd.read_csv(seeded / "summary.csv").query("metric == 'auroc'").set_index("model")
    section = read_sections(seeded / "overview.html")["Do tile positions count?"]
    lines = {line[1]: line for line in rows(section)}
    assert list(lines) == ["ro-abmil", "transmil"], "abmil uses no position"
    for name, line in lines.items():
        row = summary.loc[name]
        effect = (row.shuffled_difference, row.difference_low, row.difference_high)
        assert line[0] == "mine (net)" and line[2:4] == [f"{row['mean']:.2f}", f"{row.shuffled:.2f}"]
        assert line[4] == "{:+.2f} [{:+.2f}, {:+.2f}]".format(*effect)
    assert summary.shuffled_difference["ro-abmil"] > 0.2
    assert lines["ro-abmil"][5].startswith("Shuffling tile positions lowers AUROC by 0.")
    assert lines["ro-abmil"][5].endswith("]: this model uses position.")
    assert lines["transmil"][5].startswith("Shuffling tile positions makes no measurable difference to AUROC (")


def test_without_models_that_use_position_the_report_says_so(overview, results):
    assert text(overview["Do tile positions count?"]) == "No model here uses the positions of tiles."
    assert "With tile positions shuffled" not in read_sections(results / "tables.html")


def test_the_spread_over_seeds_is_shown_where_there_are_several(seeded, overview):
    results, spread = read_sections(seeded / "overview.html")["Results"], "std of AUROC over seeds"
    header, *lines = cells(results)
    stds = pd.read_csv(seeded / "summary.csv").query("metric == 'auroc'").seed_std
    assert (header[-1], [line[-1] for line in lines]) == (spread, [f"{std:.2f}" for std in stds])
    assert "Each fold was trained with 2 seeds" in text(results)
    assert spread not in text(overview["Results"]) and "seeds" not in text(overview["Results"])


def test_differences_and_pairs_without_a_test_are_counted(overview):
    """Of three pairs per data set, `ro-abmil` and `dsmil` are equal."""
    compared = text(overview["Models compared"])
    assert "2 of 4 pairs of models differ at the 5% level" in compared
    assert "A difference that is not significant does not show that two models are equal." in compared
    assert "2 comparisons have no p value: the models differ equally in every fold." in compared
    for model in ("ro-abmil", "dsmil"):
        assert f"mine: {model} is better than abmil by" in compared


def test_one_model_that_may_be_guessing_is_named_and_a_single_fold_allows_no_test(tmp_path):
    run = SimulatedRun(tmp_path)
    folds = run.add_dataset("mine", ["a", "b"]).query("fold == 0")
    for model, strength in (("abmil", 0.0), ("dsmil", 9.0)):
        run.add_model("mine", folds, ["a", "b"], model, strength=strength, seed=1)
    overview = write_report(run)
    sentence = "abmil on mine is not distinguishable from chance: its 95% interval of AUROC includes 0.5."
    assert sentence in text(overview["Results"])
    assert text(overview["Models compared"]) == "1 comparison has no p value: fewer than two folds allow one."


def test_cautions_come_first_and_data_slides_that_are_not_used_leaks_and_versions_are_listed(overview):
    overfit = "mine, abmil: all 5 trainings overfit from the start"
    for caution in ("Read these numbers with care", LEAK.detail, "camelyon16: 6 test slides", overfit):
        assert caution in text(overview[""])
    cohort, mine = rows(overview["Data"])
    assert cohort == ["camelyon16", "30", "30", "15 normal (15 patients), 15 tumor (15 patients)", "5", "6.0", "tumor"]
    by_class = "10 1 (10 patients), 10 02 (10 patients), 10 c<d (10 patients)"
    assert (mine[3], mine[6]) == (by_class, "each against the rest")
    assert "mine: 30 of 31 slides, 3,436 tiles, median 114 per slide." in text(overview["Slides"])
    assert rows(overview["Slides"]) == [["lost", "segment", "no_mpp", "says <nothing>"]]
    assert rows(overview["Slides"][2:]) == [["odd", "most of its border is <tissue>"]]
    assert ["mine", "patients", "leak", LEAK.detail] in rows(overview["Leakage"])
    assert "torch" in dict(rows(overview["Versions"]))


def test_all_tables_are_on_a_page_of_their_own(results, seeded):
    sections = read_sections(results / "tables.html")
    assert "Read these numbers with care" in text(sections[""])
    for title, name in (("Summary", "summary"), ("By class", "classes"), ("Models compared", "comparisons")):
        assert len(rows(sections[title])) == len(pd.read_csv(results / f"{name}.csv"))
    assert {row[3] for row in rows(sections["By class"]) if row[0] == "mine"} == {"1", "02", "c<d"}
    assert len(rows(sections["Expected calibration error"])) == 6
    shuffled = read_sections(seeded / "tables.html")["With tile positions shuffled"]
    header = ["dataset", "encoder", "model", "metric", "mean", "shuffled", "shuffled difference"]
    assert cells(shuffled)[0] == [*header, "difference low", "difference high"]
    summary = pd.read_csv(seeded / "summary.csv").query("model != 'abmil'")
    assert [row[2:6] for row in rows(shuffled)] == [
        [row["model"], row["metric"], f"{row['mean']:.3f}", f"{row['shuffled']:.3f}"]
        for row in summary.to_dict("records")
    ]
    assert "shuffled" not in cells(sections["Summary"])[0] and "seeds" not in cells(sections["Summary"])[0]
    assert cells(read_sections(seeded / "tables.html")["Summary"])[0][-2:] == ["seeds", "seed std"]
