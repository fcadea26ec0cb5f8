"""The report's opening page: the paper's figures beside ours, and what not to trust."""

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from roformermil.bags.folds import FoldRow, write_folds
from roformermil.bags.leakage import Finding, write_findings
from roformermil.cohort.slide_table import SlideRecord, write_slides_csv
from roformermil.config import Folds, Leakage, load_config
from roformermil.evaluation.paper import CLASSES, MODELS, paper_result
from roformermil.evaluation.tables import write_tables
from roformermil.report.pages import write_pages
from roformermil.report.plots.dataset import plot_dataset
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two data sets, one by the name of the paper's, with three classes in the other, as it lies on disk."""
    folder, rng, paths = tmp_path_factory.mktemp("run"), np.random.default_rng(0), []
    for name, classes in (("camelyon16", ["normal", "tumor"]), ("mine", ["a", "b", "c<d"])):
        rows = [SlideRecord(f"s{k}", f"s{k}.svs", tiles=100 + k) for k in range(30)]
        rows.append(SlideRecord("lost", "lost.svs", status="no_mpp", message="says <nothing>", stage="segment"))
        write_slides_csv(folder / name / "slides.csv", rows)
        leak = Finding(
            "patients", "leak" if name == "mine" else "ok", 2, "2 patients are in two parts of a fold: p1, p2"
        )
        write_findings([leak], Leakage(), Folds(mode="paper"), name, folder / name / "leakage.csv")
        label = np.arange(30) % len(classes)
        for model in ("abmil", "ro-abmil"):
            for fold in range(6):
                scores = (2 if model == "ro-abmil" else -0.3) * np.eye(len(classes))[label] + rng.normal(
                    0, 0.5, (30, len(classes))
                )
                table = pd.DataFrame({"slide_id": [f"s{k}" for k in range(30)], "patient_id": [f"p{k}" for k in range(30)],
                                      "label": [classes[c] for c in label],
                                      "part": ["train" if (k // len(classes) + fold) % 6 else "test" for k in range(30)]})  # fmt: skip
                table[[f"probability_{c}" for c in classes]] = np.exp(scores) / np.exp(scores).sum(
                    axis=1, keepdims=True
                )
                path = folder / name / f"net/{model}/fold_{fold}/predictions.csv"
                path.parent.mkdir(parents=True)
                table.to_csv(path, index=False)
                pd.DataFrame({"epoch": [0, 1], "train_loss": [1, 0.5], "validation_loss": [1, 0.7]}).to_csv(
                    path.with_name("history.csv"), index=False
                )
                save_file({"w": np.zeros(1)}, path.with_name("model.safetensors"), {"best_epoch": "1"})
                paths.append(path)
        rows = pd.read_csv(path, usecols=["slide_id", "patient_id", "label", "part"]).itertuples(index=False)
        write_folds(folder / name / "folds.csv", [FoldRow(0, *row) for row in rows])
    write_tables(paths, [folder / "camelyon16", folder / "mine"], folder)
    write_pages(folder, [folder / "camelyon16", folder / "mine"])
    return folder, paths


def test_the_papers_figures_stand_beside_ours_where_it_has_some(run):
    text = (run[0] / "overview.html").read_text()
    row = next(line for line in text.split("<tr>") if "camelyon16 (net)" in line and "ro-abmil" in line)
    assert "0.90 ± 0.05" in row and "0.82 ± 0.08" in row
    row = next(line for line in text.split("<tr>") if "mine (net)" in line and "ro-abmil" in line)
    assert row.count("–") == 2


def test_the_papers_figures_are_those_of_the_readme_of_the_paper():
    """Against the table as the paper prints it, typed a second time."""
    printed = {
        "abmil": ".88 .06 .84 .07 .81 .09 .70 .12 .80 .24 .74 .20", "ro-abmil": ".92 .05 .92 .05 .82 .07 .70 .10 .90 .05 .82 .08",
        "dsmil": ".88 .06 .88 .06 .79 .09 .68 .11 .74 .23 .68 .17", "ro-dsmil": ".90 .05 .90 .05 .82 .08 .70 .11 .90 .05 .82 .07",
        "transmil": ".91 .05 .91 .04 .80 .09 .68 .11 .84 .09 .77 .10",
    }  # fmt: skip
    for model in MODELS:
        found = [
            paper_result(name, CLASSES[name], model, metric)
            for name in ("tcga_nsclc", "bracs", "camelyon16")
            for metric in ("auroc", "average_precision")
        ]
        assert [value for figure in found for value in figure] == [float(word) for word in printed[model].split()]
    assert paper_result("mine", ["a", "b"], "abmil", "auroc") is None
    assert paper_result("bracs", CLASSES["bracs"], "mean", "auroc") is None
    assert paper_result("bracs", ["N", "PB", "UDH", "FEA", "ADH", "DCIS", "IC"], "abmil", "auroc") is None


def test_the_papers_classes_are_those_of_its_configuration():
    data_sets = load_config(ROOT / "config/paper.yaml").datasets
    assert {name: set(data_set.classes) for name, data_set in data_sets.items()} == {
        name: set(names) for name, names in CLASSES.items()
    }


def test_every_figure_is_the_summarys(run):
    text = (run[0] / "overview.html").read_text()
    for row in pd.read_csv(run[0] / "summary.csv").query("metric in ('auroc', 'average_precision')").itertuples():
        line = next(s for s in text.split("<tr>") if f">{row.dataset} ({row.encoder})<" in s and f">{row.model}<" in s)
        cell = line.split("<td")[3 if row.metric == "auroc" else 5].split(">", 1)[1]
        bounds = f"[{row.ci_low:.2f}, {row.ci_high:.2f}]" if row.ci_low == row.ci_low else "[no interval]"
        assert cell.startswith(f"{row.mean:.2f} ± {row.std:.2f} <small>{bounds}</small>")


def test_it_says_whom_the_figures_are_of(run):
    text = (run[0] / "overview.html").read_text()
    assert '<td class="n">10 a (10 patients), 10 b (10 patients), 10 c&lt;d (10 patients)</td>' in text
    row = next(line for line in text.split("<tr>") if ">camelyon16</td>" in line and "tumor" in line)
    assert (
        ">30<" in row
        and ">15 normal (15 patients), 15 tumor (15 patients)<" in row
        and row.rstrip("\n").count(">tumor<") == 1
    )


def test_it_warns_in_words_and_names_the_lost(run):
    text = (run[0] / "overview.html").read_text()
    warned = text.split("Read these numbers with care")[1].split("</div>")[0]
    assert "mine: the same patients train and test: figures flatter" in warned
    assert "5 test slides a fold are few" in warned
    assert "says &lt;nothing&gt;" in text and "<nothing>" not in text, "what slides say is text"


def test_a_difference_that_is_there_is_said(run):
    text = (run[0] / "overview.html").read_text()
    assert "mine: ro-abmil is better than abmil by" in text
    assert (run[0] / "comparisons.png").stat().st_size > 5000


def test_figures_of_three_classes_are_drawn(run, tmp_path):
    folder, paths = run
    plot_dataset([path for path in paths if path.parts[-5] == "mine"], tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "curves.png",
        "calibration.png",
        "confusion.png",
        "history.png",
    }
    assert all(path.stat().st_size > 5000 for path in tmp_path.iterdir())
    classes = pd.read_csv(folder / "classes.csv").query("dataset == 'mine'")
    assert set(classes["class"]) == {"a", "b", "c<d"}
    assert (classes[classes.metric == "auroc"]["mean"] > 0).all()


def test_captions_are_there_for_every_figure():
    captions = {path.stem for path in (ROOT / "workflow/report").glob("*.rst")}
    assert {
        "curves",
        "calibration",
        "confusion",
        "history",
        "comparisons",
        "tissue",
        "heatmaps",
        "overview",
        "workflow",
    } <= captions
