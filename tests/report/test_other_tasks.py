"""Plots and pages of survival and of regression."""

import numpy as np
import pandas as pd
import pytest

from roformermil.evaluation.fold_results import FoldResult
from roformermil.evaluation.kaplan_meier import group_curves, log_rank, risk_groups
from roformermil.evaluation.predictions import join_folds, out_of_fold, read_table
from roformermil.report.pages.survival import describe_risk_groups
from roformermil.report.plots.dataset import plot_dataset, plot_history
from roformermil.report.plots.scatter import plot_scatter
from roformermil.report.plots.survival import plot_survival
from roformermil.runtime.text import p_text
from roformermil.tasks.regression import Regression
from roformermil.tasks.survival import Survival
from tests.factories import SimulatedRun, survival_labels
from tests.report.test_pages import captions, cells, rows, text, write_picture, write_run
from tests.workflow.browsing import open_page

SLIDES, FOLDS, MODELS = 60, 3, ("abmil", "ro-abmil")


def make_run(folder, task, labels) -> SimulatedRun:
    """A model that guesses and one that does not and uses position."""
    run = SimulatedRun(folder)
    folds = run.add_dataset("mine", slides=SLIDES, folds=FOLDS, labels=labels)
    for seed, (model, strength, shuffled) in enumerate(zip(MODELS, (0.05, 3.0), (None, 0.1), strict=True)):
        run.add_model("mine", folds, task, model, strength=strength, seed=seed, shuffled_strength=shuffled)
    plot_dataset(run.predictions, run.folder / "mine/plots")
    return run


@pytest.fixture(scope="module")
def survival(tmp_path_factory):
    labels = survival_labels(SLIDES)
    return make_run(tmp_path_factory.mktemp("survival"), Survival().fit(labels), labels)


@pytest.fixture(scope="module")
def regression(tmp_path_factory):
    labels = [f"{value:.2f}" for value in np.random.default_rng(0).normal(20, 5, SLIDES)]
    return make_run(tmp_path_factory.mktemp("regression"), Regression().fit(labels), labels)


@pytest.fixture(scope="module")
def survival_page(survival):
    for panel in ("high risk/labelled/s0", "low risk/unlabelled/s1"):
        write_picture(survival.folder / f"mine/net/ro-abmil/heatmaps/gallery/{panel}.jpg", (2000, 900))
    return write_run(survival)


@pytest.fixture(scope="module")
def regression_page(regression):
    return write_run(regression)


def results_of(run):
    return [FoldResult.at(path) for path in run.predictions]


def names_of(folder):
    return {path.stem for path in folder.glob("*.png")}


def test_each_task_has_its_own_plots(survival, regression):
    assert names_of(survival.folder / "mine/plots") == {"survival", "history"}
    assert names_of(regression.folder / "mine/plots") == {"scatter", "history"}


def test_survival_curves_are_those_of_the_risk_groups(survival):
    models, validation = out_of_fold(results_of(survival)), join_folds(results_of(survival), "validation")
    figure = plot_survival(list(map(risk_groups, models, validation)))
    axes = np.reshape(figure.axes, (2, len(MODELS)))
    for (above, below), model, own in zip(axes.T, models, validation, strict=True):
        patients, cuts = risk_groups(model, own)
        lines, names = above.get_legend_handles_labels()
        assert names == ["low risk", "high risk"]
        for line, curve in zip(lines, group_curves(patients, cuts).values(), strict=True):
            assert line.get_xydata().tolist() == curve[["time", "survival"]].to_numpy().tolist()
        is_high = patients.predictions[:, 0] > cuts
        _, p = log_rank(patients.targets[:, 0], patients.targets[:, 1] > 0, is_high)
        assert above.get_title() == f"{model.model}\nlog-rank test, {p_text(p)}"
        at_risk = [one.get_text() for one in below.texts if one.get_position()[0] == 0]
        assert at_risk == [f"{(~is_high).sum()}", f"{is_high.sum()}"]


def test_a_scatter_plot_has_every_test_slide_and_the_line_of_equality(regression):
    models = out_of_fold(results_of(regression))
    figure = plot_scatter(models)
    for panel, model in zip(figure.axes, models, strict=True):
        equality, points = panel.lines
        assert points.get_xydata().tolist() == np.column_stack([model.targets, model.predictions[:, 0]]).tolist()
        assert (equality.get_xdata() == equality.get_ydata()).all() and equality.get_xdata()[0] < model.targets.min()
        assert panel.get_title().startswith(f"{model.model}\nR2 ") and "mean absolute error " in panel.get_title()


def test_the_loss_of_guessing_is_that_of_the_training_slides(survival, regression):
    for run in (survival, regression):
        results = results_of(run)
        figure = plot_history(results)
        dotted = {line.get_ydata()[0] for panel in figure.axes for line in panel.lines if line.get_linestyle() == ":"}
        tables = [read_table(one.path) for one in results]
        targets = [one.task.targets(t[t.part == "train"].label) for one, t in zip(results, tables, strict=True)]
        expected = np.median([one.task.guess_loss(t) for one, t in zip(results[:FOLDS], targets[:FOLDS], strict=True)])
        assert dotted == {expected}


def test_the_page_of_survival_has_its_metrics_plot_and_risk_groups(survival, survival_page):
    results = survival_page["results"]
    assert cells(results)[0] == ["model", "C-index", "in words"]
    assert "ro-abmil ranks patients by risk better than chance (C-index 0." in text(results)
    assert "with a line at 0.5, chance" in text(results) and "with an event" in text(results)
    assert "decisions" not in survival_page and "Beside the paper" not in text(results)
    plots = survival_page["plots"]
    assert [line.split(".")[0] for line in captions(plots)] == [
        "Survival of patients of low and of high risk",
        "Learning curves",
    ]
    table = read_table(survival.folder / "survival_groups.csv")
    joined = table[table.fold.isna()]
    shown = [(line[0], line[1], int(line[2]), int(line[3])) for line in rows(plots)]
    assert shown == list(joined[["model", "group", "patients", "events"]].itertuples(index=False, name=None))
    assert "Folds share training patients" in text(plots) and "Folds in which all test" not in text(plots)
    described = describe_risk_groups(table.assign(patients=table.patients.where(table.index > 0, 0)))["mine"]
    assert described["caution"].startswith("Folds in which all test patients are in one group (abmil: 1): ")
    assert "Risk groups of each fold" in text(survival_page["tables"])
    by_fold = [line[3] for line in rows(survival_page["tables"], -1)]
    assert by_fold == ["0", "0", "1", "1", "2", "2", "–", "–"] * len(MODELS)
    assert cells(survival_page["position"])[0] == ["model", "C-index", "C-index, positions shuffled", "difference"]


def test_heat_maps_are_of_the_highest_and_the_lowest_risks(survival_page):
    section = survival_page["heatmaps"]
    assert "The highest and the lowest predictions, each made by" in text(section)
    assert "subtracts from (blue) the risk: the log-odds of the event" in text(section)
    assert captions(section) == [
        "s0. High risk, predicted by ro-abmil.",
        "s1. Low risk, without a label, predicted so by ro-abmil.",
    ]


def test_the_page_of_regression_has_its_metrics_and_plot(regression, regression_page):
    results = regression_page["results"]
    assert cells(results)[0] == ["model", "R2", "Pearson correlation", "mean absolute error", "in words"]
    assert "ro-abmil predicts the label better than the mean of the test labels (R2 0." in text(results)
    assert "on a scale from -1 to 1 with a line at 0, the mean of the test labels" in text(results)
    assert "Lower is better for mean absolute error." in text(results)
    assert "decisions" not in regression_page and "DeLong" not in text(regression_page["comparisons"])
    assert captions(regression_page["plots"])[0].startswith("Predicted and true labels")
    summary = pd.read_csv(regression.folder / "summary.csv").set_index(["model", "metric"])
    assert rows(results)[1][3].startswith(f"{summary['mean']['ro-abmil', 'mae']:.2f} [")


def test_an_interval_below_the_scale_is_drawn_at_its_end():
    from roformermil.report.pages.answers import group_answers

    row = {
        "dataset": "d",
        "encoder": "e",
        "model": "m",
        "mean": -0.5,
        "ci_low": -3.0,
        "ci_high": 0.5,
        "seed_std": np.nan,
    }
    table = pd.DataFrame([row | {"metric": name} for name in ("r2", "pearson", "mae")])
    table = table.assign(shuffled=np.nan, shuffled_difference=np.nan, difference_low=np.nan, difference_high=np.nan)
    (group,) = group_answers(table)
    assert group["models"][0]["interval"] == pytest.approx((0, 75, 25))


@pytest.mark.usefixtures("survival_page", "regression_page")
def test_a_browser_shows_them_within_its_width(survival, regression):
    for run in (survival, regression):
        with open_page(run.folder / "report.html", width=1366, javascript=False) as page:
            assert page.errors == [] and page.evaluate("document.documentElement.scrollWidth") <= 1366
            assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
