"""The plots show what the predictions say: their curves, bars and texts are compared with the numbers."""

from unittest.mock import ANY

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from roformermil.evaluation.calibration import reliability
from roformermil.evaluation.curves import POINTS, curves
from roformermil.evaluation.fold_results import FoldResult
from roformermil.evaluation.predictions import out_of_fold
from roformermil.evaluation.temperature import scaled_models
from roformermil.report.plots.comparison import plot_comparisons
from roformermil.report.plots.dataset import (
    fold_colours,
    plot_calibration,
    plot_confusion,
    plot_curves,
    plot_dataset,
    plot_history,
)
from tests.factories import SimulatedRun

CLASSES = {"two": ["adenocarcinoma", "squamous"], "three": ["a", "b", "c"], "seeds": ["adenocarcinoma", "squamous"]}
SEEDS = {"two": 1, "three": 1, "seeds": 2}


@pytest.fixture(scope="module", params=CLASSES)
def paths(request, tmp_path_factory):
    """Predictions of a good and of a guessing model; a data set with two classes, one with three, and one whose folds were
    trained with two seeds."""
    run, classes, seeds = SimulatedRun(tmp_path_factory.mktemp("run")), CLASSES[request.param], SEEDS[request.param]
    folds = run.add_dataset(request.param, classes, slides=30)
    run.add_model(request.param, folds, classes, "good", strength=3.0, best_epoch=1, seeds=seeds)
    run.add_model(request.param, folds, classes, "guessing", strength=0.0, seed=1, best_epoch=2, seeds=seeds)
    return run.predictions


@pytest.fixture
def models(paths):
    return out_of_fold([FoldResult.at(path) for path in paths])


@pytest.fixture
def first_seeds(paths):
    """The models' predictions by each fold's first training: every slide once."""
    return out_of_fold([FoldResult.at(path) for path in paths if "seed" not in path.parent.name])


def title(figure):
    return figure.get_suptitle()


def tick_texts(axis):
    return [tick.get_text() for tick in axis.get_ticklabels()]


def test_there_is_a_curve_of_each_class(models):
    figure = plot_curves(models)
    average = "mean over folds and seeds, 95%" if models[0].dataset == "seeds" else "mean over folds, 95%"
    assert average in title(figure)
    axes = np.reshape(figure.axes, (2, 2))  # ROC, precision and recall; a model per column
    assert [panel.get_title() for panel in axes[0]] == [model.model for model in models]
    for column, model in zip(axes.T, models, strict=True):
        for panel, kind in zip(column, ("roc", "pr"), strict=True):
            lines, names = panel.get_legend_handles_labels()
            assert names == (model.classes[1:] if len(model.classes) == 2 else model.classes)
            bands = [path.get_paths()[0].vertices[:, 1] for path in panel.collections]
            for name, line, band in zip(names, lines, bands, strict=True):
                curve = curves(model, model.classes.index(name))[kind]
                assert line.get_ydata()[-len(POINTS) :].tolist() == curve.middle.tolist()
                assert {*curve.low[np.isfinite(curve.low)]} <= {*band}
            guessing = [line.get_xydata().tolist() for line in panel.lines if line.get_linestyle() == ":"]
            shares = [[[0, (model.targets == model.classes.index(name)).mean()], [1, ANY]] for name in names]
            assert guessing == ([[[0, 0], [1, 1]]] if kind == "roc" else shares)
    names = [(panel.get_xlabel(), panel.get_ylabel()) for panel in axes[:, 0]]
    assert names == [("false positive rate", "true positive rate"), ("recall", "precision")]


def test_a_point_of_a_curve_is_the_mean_over_all_trainings(models):
    """The area under the mean of curves is the mean of their areas."""
    for model in models:
        curve = curves(model)["roc"]
        areas = [roc_auc_score(model.targets[run] == 1, model.predictions[run, 1]) for run in model.tests]
        assert len(areas) == 3 * SEEDS[model.dataset]
        assert np.trapezoid(curve.middle, POINTS) == pytest.approx(np.mean(areas), abs=0.02)


def test_confusion_has_labels_down_and_predictions_across(models, first_seeds):
    figure = plot_confusion(models)
    assert ("first seed" in title(figure)) == (models[0].dataset == "seeds")
    panels = figure.axes
    assert (panels[0].get_ylabel(), tick_texts(panels[0].yaxis)) == ("label", models[0].classes)
    for panel, model in zip(panels, first_seeds, strict=True):
        assert (panel.get_xlabel(), tick_texts(panel.xaxis)) == ("predicted", model.classes)
        counts = np.zeros((len(model.classes), len(model.classes)), int)
        np.add.at(counts, (model.targets, model.predictions.argmax(axis=1)), 1)
        assert counts.sum() == 30, "each slide once"
        assert {(text.get_position()[::-1], int(text.get_text())) for text in panel.texts} == {*np.ndenumerate(counts)}
        assert np.asarray(panel.images[0].get_array()) == pytest.approx(counts / counts.sum(axis=1, keepdims=True))


def test_calibration_shows_what_is_observed_and_how_many_slides(models, first_seeds):
    figure = plot_calibration(models, scaled_models(models, models))
    assert ("first seed" in title(figure)) == (models[0].dataset == "seeds")
    assert title(figure).endswith("Too few patients to read this plot"), "30 slides"
    axes = np.reshape(figure.axes, (2, 2))
    for (above, below), model in zip(axes.T, first_seeds, strict=True):
        curve = reliability(model.targets, model.predictions)
        assert above.lines[1].get_xydata() == pytest.approx(curve[["probability", "observed"]].to_numpy())
        assert len(above.lines[2].get_xydata()) and "temperature-scaled 0." in above.get_title()
        assert [bar.get_height() for bar in below.patches] == curve.slides.tolist()
        predicted = "squamous" if len(model.classes) == 2 else "the predicted class"
        assert below.get_xlabel() == f"probability of {predicted}"
        assert above.get_title().startswith(f"{model.model}, ECE 0.")
    assert [panel.get_ylabel() for panel in axes[:, 0]] == ["observed fraction", "slides"]


def test_history_has_losses_of_each_training_in_its_folds_colour_and_a_dot_at_the_epoch_that_was_kept(paths):
    results, history = [FoldResult.at(path) for path in paths], pd.read_csv(paths[0].with_name("history.csv"))
    seeds, figure = SEEDS[results[0].dataset], plot_history(results)
    assert title(figure).endswith("a line per fold" if seeds == 1 else "a line per fold and seed")
    above, below = np.reshape(figure.axes, (2, 2))  # training, validation; a model per column
    colours = [colour for colour in ("C0", "C1", "C2") for _ in range(seeds)]
    for training, validation, kept in zip(above, below, (1, 2), strict=True):
        losses = np.reshape(training.lines[:-1], (3 * seeds, 2))[
            :, 0
        ]  # each beside its triangles; then that of guessing
        assert [line.get_ydata().tolist() for line in losses] == [history.train_loss.tolist()] * 3 * seeds
        assert [line.get_color() for line in losses] == colours
        losses, _, dots = np.reshape(validation.lines[:-1], (3 * seeds, 3)).T
        assert [line.get_ydata().tolist() for line in losses] == [history.validation_loss.tolist()] * 3 * seeds
        assert [dot.get_xydata().tolist() for dot in dots] == [[[kept, history.validation_loss[kept]]]] * 3 * seeds
        assert [dot.get_color() for dot in dots] == colours
        guessing = np.log(len(results[0].classes))
        assert {line.get_ydata()[0] for panel in (training, validation) for line in panel.lines[-1:]} == {guessing}
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["fold 0", "fold 1", "fold 2"]
    assert (above[0].get_ylabel(), below[0].get_ylabel()) == ("train loss", "validation loss")


def test_one_epoch_that_diverges_does_not_flatten_the_other_lines(tmp_path):
    run = SimulatedRun(tmp_path)
    run.add_model("one", run.add_dataset("one", "ab"), "ab")
    wild = run.predictions[0].with_name("history.csv")
    pd.read_csv(wild).assign(validation_loss=[0.7, 50.0, 0.6]).to_csv(wild, index=False)
    training, validation = plot_history([FoldResult.at(path) for path in run.predictions]).axes
    limit = 2 * np.log(2)
    assert training.get_ylim() == validation.get_ylim() and limit < validation.get_ylim()[1] < 1.1 * limit
    triangles = [line.get_xydata().tolist() for line in validation.lines if line.get_marker() == "^"]
    assert triangles == [[[1, limit]], [], []]


def test_each_of_many_folds_has_its_own_colour():
    for count in (3, 10, 25):
        assert len({str(colour) for colour in fold_colours(count)}) == count


def test_comparisons_have_an_interval_and_a_p_value_per_pair():
    tested = {"against": "n", "test": "corrected_t", "difference": 0.2, "ci_low": 0.1, "ci_high": 0.3, "p_holm": 0.01}
    table = pd.DataFrame([tested, {"against": "o", "test": "delong", "difference": 0.0}])
    (panel,) = plot_comparisons(table.assign(dataset="d", encoder="e", metric="auroc", model="m")).axes
    assert tick_texts(panel.yaxis) == ["m − n, corrected t, Holm's p = 0.01", "m − o, DeLong, no p value"]
    assert panel.containers[0].lines[2][0].get_segments()[0] == pytest.approx(np.array([[0.1, 0], [0.3, 0]]))
    assert panel.get_title() == "d (e)"


@pytest.mark.slow
def test_files_have_nothing_cut_off(paths, tmp_path):
    plot_dataset(paths, tmp_path)
    assert {path.stem for path in tmp_path.glob("*.png")} == {"calibration", "confusion", "curves", "history"}
    for path in tmp_path.iterdir():
        pixels = np.asarray(Image.open(path).convert("RGB"))
        edges = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
        assert (edges > 250).all() and (pixels < 100).any(), f"{path.name}: ink at the edge, or none at all"
