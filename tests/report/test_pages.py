"""The report: what the models reached, our results beside the paper's, which models differ, and why to be careful; as one file
that a browser shows without a network and without JavaScript."""

import base64
import io
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from roformermil.bags.leakage import Finding
from roformermil.cohort.slide_table import SlideRecord
from roformermil.config import Config
from roformermil.evaluation.tables import write_tables
from roformermil.report.pages import run_name, shorten_id, write_report
from roformermil.report.pages.answers import against_chance
from roformermil.report.pages.decisions import describe_decisions
from roformermil.report.pages.pictures import WIDE_PX
from roformermil.report.plots.dataset import plot_dataset
from tests.factories import NO_LEAK, SimulatedRun
from tests.workflow.browsing import open_page

LEAK = Finding("patients", "leak", 2, "2 patients are in two parts of a fold: p1, p2")
RECORDS = [
    *(SlideRecord(f"s{k}", Path(f"s{k}.svs"), tiles=100 + k) for k in range(29)),
    SlideRecord("odd", Path("odd.svs"), tiles=130, warnings="most of its border is <tissue>: look at its outline"),
    SlideRecord("lost", Path("lost.svs"), status="no_mpp", message="says <nothing>", stage="segment"),
    SlideRecord("bare", Path("bare.svs"), status="empty", message="no tile", stage="tile"),
    SlideRecord("skipped", Path("skipped.svs"), status="excluded", message="a biopsy", stage="slide sheet"),
]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The results folder, with the report, of a cohort of the paper and of one with three classes, whose folds leak; `abmil`
    guesses, `ro-abmil` does not, and `dsmil` predicts exactly what `ro-abmil` does."""
    run = SimulatedRun(tmp_path_factory.mktemp("run"))
    for name, classes, finding in (("camelyon16", ["normal", "tumor"], NO_LEAK), ("mine", ["1", "02", "c<d"], LEAK)):
        folds = run.add_dataset(name, classes, slides=30, folds=5, records=RECORDS, findings=[finding])
        run.add_model(name, folds, classes, "abmil", strength=0.0, seed=1)
        for model in ("ro-abmil", "dsmil"):
            run.add_model(name, folds, classes, model, strength=4.0, seed=2)
    for slide in ("odd", "lost", "bare"):
        write_picture(run.folder / f"mine/tissue/{slide}.jpg", (400, 300))
    write_run(run)
    return run.folder


@pytest.fixture(scope="module")
def page(results):
    return read_sections(results)


@pytest.fixture(scope="module")
def seeded(tmp_path_factory):
    """The same of a run with two seeds per fold, with plots, heat maps and a contact sheet: shuffled positions make `ro-abmil`
    guess and change nothing for `transmil`."""
    run, classes = SimulatedRun(tmp_path_factory.mktemp("seeded")), ["a", "b"]
    folds = run.add_dataset("mine", classes, slides=60)
    for model, strength, shuffled in (("abmil", 2.0, None), ("ro-abmil", 2.0, 0.0), ("transmil", 2.0, 2.0)):
        run.add_model("mine", folds, classes, model, strength=strength, seeds=2, shuffled_strength=shuffled)
    plot_dataset(run.predictions, run.folder / "mine/plots")
    for panel in ("a/right/s0", "b/wrong/s1"):
        write_picture(run.folder / f"mine/net/ro-abmil/heatmaps/gallery/{panel}.jpg", (2000, 900))
    write_picture(run.folder / "mine/tissue.jpg", (2400, 3000))
    write_run(run)
    return run.folder


def write_picture(path, size):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.effect_noise(size, 40).convert("RGB").save(path)


def write_run(run):
    """Write a run's tables and its report; returns the sections of the latter."""
    write_tables(run.predictions, run.datasets, run.folder)
    write_report(run.folder, run.datasets)
    return read_sections(run.folder)


def read_sections(results):
    """The report's sections by id. Fails where the page is not well-formed."""
    root = ElementTree.fromstring((results / "report.html").read_text())
    return {section.get("id"): section for section in root.iter("section")}


def text(element):
    return " ".join("".join(element.itertext()).split())


def cells(element, number=0):
    """The cells of a table of an element, by default of its first."""
    table = list(element.iter("table"))[number]
    return [[" ".join(" ".join(cell.itertext()).split()) for cell in row] for row in table.iter("tr")]


def rows(element, number=0):
    return cells(element, number)[1:]


def captions(section):
    return [text(caption) for caption in section.iter("figcaption")]


def picture(source):
    return Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))


def test_the_answer_comes_first_with_intervals_and_in_words(results, page):
    summary = pd.read_csv(results / "summary.csv").set_index(["dataset", "model", "metric"])
    answers = page["results"]
    header, *lines = cells(answers)
    metrics = ["AUROC", "balanced accuracy", "average precision", "pooled AUROC"]
    assert header == ["model", *metrics, "in words"]
    assert [line[0] for line in lines] == ["abmil", "ro-abmil", "dsmil"]
    for line, model in zip(lines, ("abmil", "ro-abmil", "dsmil"), strict=True):
        for cell, metric in zip(line[1:5], metrics, strict=True):
            row = summary.loc["camelyon16", model, metric.replace(" ", "_").lower()]
            interval = f"[{row.ci_low:.2f}, {row.ci_high:.2f}]" if row.ci_low == row.ci_low else "[no interval]"
            assert cell == f"{row['mean']:.2f} {interval}"
    assert lines[0][5].startswith("Not distinguishable from chance: the interval of AUROC includes 0.5.")
    assert lines[1][5].startswith("Better than chance.") and "Tile positions: not used" in lines[1][5]
    sentences = [text(element) for element in answers if element.get("class") == "answer"]
    assert len(sentences) == 2 and all("ro-abmil and dsmil tell the classes apart better" in one for one in sentences)
    assert all(
        "abmil is not distinguishable from chance: its 95% interval of AUROC includes 0.5." in s for s in sentences
    )
    assert text(answers).index("Better than chance") < text(answers).index("Read these numbers with care")
    assert {link.get("href") for link in answers.iter("a")} == {"#cautions"}, "beside each answer"


@pytest.mark.parametrize(
    ("mean", "low", "high", "expected"),
    [
        (0.7, 0.51, 0.9, "better"),
        (0.7, 0.49, 0.9, "chance"),
        (0.3, 0.1, 0.49, "worse"),
        (1.0, np.nan, np.nan, "better"),
        (0.5, np.nan, np.nan, "chance"),
        (np.nan, np.nan, np.nan, "unknown"),
    ],
)
def test_a_model_is_better_than_chance_only_where_its_interval_excludes_it(mean, low, high, expected):
    assert against_chance({"metric": "auroc", "mean": mean, "ci_low": low, "ci_high": high}) == expected


def test_the_bar_shows_the_interval_on_a_scale_from_0_to_1(results, page):
    row = pd.read_csv(results / "summary.csv").query("metric == 'auroc' and model == 'abmil'").iloc[0]
    bar = next(page["results"].iter("i"))
    assert bar.get("style") == f"left:{100 * row.ci_low:.1f}%;width:{100 * (row.ci_high - row.ci_low):.1f}%"


def test_results_are_beside_the_papers_where_it_has_them(results, page):
    summary = pd.read_csv(results / "summary.csv").set_index(["dataset", "model", "metric"])
    lines = {tuple(line[:2]): line[2:] for line in rows(page["results"], 2)}
    assert {dataset for dataset, _ in lines} == {"camelyon16"}
    auroc, precision = (summary.loc["camelyon16", "ro-abmil", name] for name in ("auroc", "average_precision"))
    ours = [f"{row['mean']:.2f} ± {row['std']:.2f}" for row in (auroc, precision)]
    assert lines["camelyon16", "ro-abmil"] == [ours[0], "0.90 ± 0.05", ours[1], "0.82 ± 0.08"]
    assert "arXiv 2310.01924" in text(page["results"])


def test_each_model_that_uses_position_is_beside_itself_with_shuffled_positions(seeded):
    """`transmil` draws its predictions twice, so shuffling changes its AUROC by chance only."""
    summary = pd.read_csv(seeded / "summary.csv").query("metric == 'auroc'").set_index("model")
    sections = read_sections(seeded)
    lines = {line[0]: line for line in rows(sections["position"])}
    assert list(lines) == ["ro-abmil", "transmil"], "abmil uses no position"
    for name, line in lines.items():
        row = summary.loc[name]
        effect = (row.shuffled_difference, row.difference_low, row.difference_high)
        assert line[1].startswith(f"{row['mean']:.2f} [") and line[2] == f"{row.shuffled:.2f}"
        assert line[3] == "{:+.2f} [{:+.2f}, {:+.2f}]".format(*effect)
    assert summary.shuffled_difference["ro-abmil"] > 0.2
    words = {line[0]: line[-1] for line in rows(sections["results"])}
    assert "Shuffling tile positions lowers AUROC by 0." in words["ro-abmil"]
    assert words["ro-abmil"].endswith("]: this model uses position.")
    assert "Shuffling tile positions makes no measurable difference to AUROC (" in words["transmil"]


def test_without_models_that_use_position_the_report_says_so(page):
    assert text(page["position"]).endswith("No model here uses the positions of tiles.")
    assert "With tile positions shuffled" not in text(page["tables"])


def test_the_spread_over_seeds_is_shown_where_there_are_several(seeded, page):
    results, spread = read_sections(seeded)["results"], "std of AUROC over seeds"
    header, *lines = cells(results)
    stds = pd.read_csv(seeded / "summary.csv").query("metric == 'auroc'").seed_std
    assert (header[-2], [line[-2] for line in lines]) == (spread, [f"{std:.2f}" for std in stds])
    assert "Each fold was trained with 2 seeds" in text(results)
    assert spread not in text(page["results"]) and "seeds" not in text(page["results"])


def test_differences_and_pairs_without_a_test_are_counted(page):
    """Of three pairs per data set, `ro-abmil` and `dsmil` are equal."""
    compared = text(page["comparisons"])
    assert "2 of 4 pairs of models differ at the 5% level" in compared
    assert "A difference that is not significant does not show that two models are equal." in compared
    assert "2 comparisons have no p value: the models differ equally in every fold." in compared
    for model in ("ro-abmil", "dsmil"):
        assert f"mine: {model} is better than abmil by" in compared


def test_a_single_fold_allows_no_test_and_a_single_model_no_comparison(tmp_path):
    run = SimulatedRun(tmp_path)
    folds = run.add_dataset("mine", ["a", "b"]).query("fold == 0")
    run.add_model("mine", folds, ["a", "b"], "abmil", strength=0.0, seed=1)
    assert text(write_run(run)["comparisons"]).endswith("There is only one model.")
    run.add_model("mine", folds, ["a", "b"], "dsmil", strength=9.0, seed=1)
    assert "1 comparison has no p value: fewer than two folds allow one." in text(write_run(run)["comparisons"])


def test_cautions_data_leaks_and_versions_are_listed(page):
    overfit = "mine, abmil: all 5 trainings overfit from the start"
    for caution in ("Read these numbers with care", LEAK.detail, "camelyon16: 6 test slides", overfit):
        assert caution in text(page["results"])
    cohort, mine = rows(page["slides"])
    assert cohort == ["camelyon16", "30", "30", "15 normal (15 patients), 15 tumor (15 patients)", "5", "6", "tumor"]
    by_class = "10 1 (10 patients), 10 02 (10 patients), 10 c<d (10 patients)"
    assert (mine[3], mine[6]) == (by_class, "each against the rest")
    assert ["mine", "patients", "leak", LEAK.detail] in rows(page["leakage"])
    assert "torch" in dict(rows(page["provenance"], -1))


def test_lost_slides_have_their_message_and_picture_and_are_not_those_left_out(page):
    """`lost` failed in segmentation: its picture is of an earlier run."""
    assert "mine: 30 of 33 slides, 3,436 tiles, median 114 per slide." in text(page["slides"])
    lost, odd, left_out = (list(page["slides"].iter("table"))[k] for k in (4, 5, 6))  # after those of camelyon16
    lines = [[text(cell) for cell in row] for row in lost.iter("tr")][1:]
    assert lines == [
        ["no picture", "lost", "no_mpp in segment", "says <nothing>"],
        ["", "bare", "empty in tile", "no tile"],
    ]
    assert [text(cell) for cell in list(odd.iter("tr"))[1]] == ["", "odd", "most of its border is <tissue>"]
    assert [text(cell) for cell in list(left_out.iter("tr"))[1]] == ["no picture", "skipped", "a biopsy"]
    for table, count in ((lost, 1), (odd, 1), (left_out, 0)):
        sizes = [picture(image.get("src")).size for image in table.iter("img")]
        assert sizes == [(130, 98)] * count


def test_every_number_of_the_tables_is_on_the_page(results, seeded, page):
    for number, name in enumerate(("summary", "classes", "comparisons")):
        assert len(rows(page["tables"], number)) == len(pd.read_csv(results / f"{name}.csv"))
    assert {row[3] for row in rows(page["tables"], 1) if row[0] == "mine"} == {"1", "02", "c<d"}
    tables = read_sections(seeded)["tables"]
    header = ["dataset", "encoder", "model", "metric", "mean", "shuffled", "shuffled difference"]
    assert cells(tables, 1)[0] == [*header, "difference low", "difference high"]
    summary = pd.read_csv(seeded / "summary.csv").query("model != 'abmil'")
    assert [row[2:6] for row in rows(tables, 1)] == [
        [row["model"], row["metric"], f"{row['mean']:.3f}", f"{row['shuffled']:.3f}"]
        for row in summary.to_dict("records")
    ]
    assert "shuffled" not in cells(tables)[0] and cells(page["tables"])[0][-1] == "folds"
    assert cells(tables)[0][-2:] == ["seeds", "seed std"]


def test_each_picture_has_its_caption_below_and_is_no_wider_than_a_screen(seeded):
    sections = read_sections(seeded)
    plots = [caption.split(".")[0] for caption in captions(sections["plots"])]
    assert plots == ["ROC and precision-recall curves", "Confusion matrices", "Learning curves"]
    panels = captions(sections["heatmaps"])
    assert panels == ["s0. Labelled a, predicted right by ro-abmil.", "s1. Labelled b, predicted wrong by ro-abmil."]
    assert [caption.split(".")[0] for caption in captions(sections["slides"])] == ["Tissue outlines of mine"]
    for name in ("heatmaps", "slides"):
        assert {picture(image.get("src")).width for image in sections[name].iter("img")} == {WIDE_PX}
    for figure in (one for section in sections.values() for one in section.iter("figure")):
        assert [element.tag for element in figure] == ["img", "figcaption"]


def test_calibration_is_left_out_where_it_cannot_be_read(seeded, tmp_path):
    few = text(read_sections(seeded)["plots"])
    assert "Calibration is not shown. Calibration cannot be judged from so few patients" in few
    assert "at least 100 patients of each class" in few and "there are 30 of class a" in few
    assert "Expected calibration error" not in text(read_sections(seeded)["tables"])
    run = SimulatedRun(tmp_path)
    run.add_model("mine", run.add_dataset("mine", ["a", "b"], slides=200), ["a", "b"])
    plot_dataset(run.predictions, tmp_path / "mine/plots")
    sections = write_run(run)
    assert [caption for caption in captions(sections["plots"]) if caption.startswith("Calibration.")]
    assert "Expected calibration error" in text(sections["tables"]) and "not shown" not in text(sections["plots"])


def test_a_run_is_named_after_its_folder_or_its_data_sets(tmp_path):
    assert run_name(tmp_path / "mine", [Path("a")]) == "mine"
    assert run_name(tmp_path / "results", [Path("a"), Path("b")]) == "a, b"


def test_a_long_encoder_id_is_whole_in_the_provenance_only(tmp_path):
    run, encoder = SimulatedRun(tmp_path), "vit_large_patch14_reg4_dinov2.lvd142m-hub"
    run.add_model("mine", run.add_dataset("mine", ["a", "b"]), ["a", "b"], encoder=encoder)
    sections = write_run(run)
    assert shorten_id(encoder) in text(sections["results"]) and encoder not in text(sections["results"])
    assert len(shorten_id(encoder)) == 24 and encoder in text(sections["provenance"])
    assert shorten_id("uni2-h-hub") == "uni2-h-hub"


@pytest.mark.parametrize("width", [1366, 1920])
def test_a_browser_shows_it_without_a_network_and_without_javascript(seeded, width):
    with open_page(seeded / "report.html", width=width, javascript=False) as page:
        assert page.title() == f"{seeded.name}: results of RoFormerMIL"
        assert page.get_by_text("In words").first.bounding_box()["y"] < 400, "the answer is seen without scrolling"
        pictures = page.locator("img")
        sizes = [pictures.nth(k).bounding_box() for k in range(pictures.count())]
        assert len(sizes) == 8 and all(size["width"] > 300 and size["height"] > 100 for size in sizes)
        assert all(size["x"] >= 0 and size["x"] + size["width"] <= width for size in sizes)
        assert [url for url in page.requests if not url.startswith(("file:", "data:"))] == []
        assert page.errors == []
    source = (seeded / "report.html").read_text()
    assert not re.search(r"<script|<link|url\(|(src|href)=\"(?!data:|#)", source), "nothing is loaded from elsewhere"


def test_decisions_are_shown_with_their_thresholds_and_intervals(results, page):
    section, table = page["decisions"], pd.read_csv(results / "decisions.csv")
    header, *lines = cells(section)
    assert header == ["model", "threshold (of folds)", "sensitivity", "specificity", "PPV", "NPV"]
    points = pd.read_csv(results / "operating_points.csv")
    for line in lines:
        own = table[(table.dataset == "camelyon16") & (table.model == line[0])]
        expected = [f"{row.value:.2f} [{row.ci_low:.2f}, {row.ci_high:.2f}]" for row in own.itertuples()]
        assert line[2:] == expected and len(expected) == 4
        thresholds = points[(points.dataset == "camelyon16") & (points.model == line[0])].threshold
        assert line[1] == f"{thresholds.mean():.2f} ({thresholds.min():.2f} to {thresholds.max():.2f})"
    assert "Chosen on each fold's validation slides: the highest Youden's index" in text(section)
    assert "There are 3 validation slides of class tumor per fold" in text(section)
    assert cells(section, 3)[0][:2] == ["model", "class"], "of three classes each has its own"
    assert len(captions(section)) == 2 and all("Net benefit" in caption for caption in captions(section))
    assert "temperature: true} would" in text(section)


def test_an_ensembles_one_threshold_has_no_range(results):
    names = ("decisions", "operating_points", "abstention", "probabilities")
    tables = {name: pd.read_csv(results / f"{name}.csv") for name in names}
    points = tables["operating_points"]
    tables["operating_points"] = points[points.fold == 0]
    section = describe_decisions(tables)[0]
    header, (row, *_) = section["points"]
    assert header[1] == "threshold" and row[1] == f"{points.threshold[0]:.2f}"


def test_a_given_prevalence_and_temperatures_are_named(tmp_path):
    run, classes = SimulatedRun(tmp_path), ["a", "b"]
    run.add_model("mine", run.add_dataset("mine", classes, slides=60), classes, strength=2.0)
    dataset = {"slides": "s.csv", "root": ".", "classes": classes}
    decisions = {"specificity": 0.8, "prevalence": {"b": 0.05}, "temperature": True}
    models = [{"name": "mean", "id": "other"}]
    config = Config(datasets={"mine": dataset}, decisions=decisions, models=models)
    write_tables(run.predictions, run.datasets, run.folder, config.model_dump_json())
    write_report(run.folder, run.datasets)
    section = read_sections(run.folder)["decisions"]
    assert cells(section)[0][-2:] == ["PPV at prevalence 0.05", "NPV at prevalence 0.05"]
    assert "a specificity of at least 0.8 and the highest sensitivity" in text(section)
    assert "Decisions here and in packaged models use the scaled probabilities." in text(section)
