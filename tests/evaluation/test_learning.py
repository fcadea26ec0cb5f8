"""Trainings that never began, and that memorized, each against ones that did not."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad
from scipy.stats import norm
from sklearn.metrics import log_loss

from roformermil.config import Model, Training
from roformermil.config.base import to_json
from roformermil.evaluation.consistency import read_results
from roformermil.evaluation.fold_results import FoldResult
from roformermil.evaluation.learning import PLATEAU, describe_learning, learning_cautions, relative_cross_entropy
from roformermil.evaluation.predictions import OutOfFold, read_table
from roformermil.tasks import Classification
from roformermil.tasks.regression import Regression
from roformermil.tasks.survival import Survival
from tests.factories import SimulatedRun, survival_labels, write_predictions_csv, write_training_files

KEY = ("set", "net", "ro")


@pytest.fixture
def cautions_of(tmp_path):
    """The cautions of a model of three folds: cautions_of(train, validation, only={run: (train, validation)}), with how far the
    scores of each part favour the label; `only` for single trainings, by the name of their folder. The lowest training loss is
    that of the kept epoch, or `lowest`."""

    def make(train, validation, only=(), slides=90, seeds=1, classes="ab", lowest=None) -> list[str]:
        run, rng = SimulatedRun(tmp_path / str(len(list(tmp_path.iterdir())))), np.random.default_rng(0)
        paths = run.add_model("set", run.add_dataset("set", classes, slides), classes, "ro", seeds=seeds)
        for path in paths:
            strengths = dict(
                zip(("train", "validation"), dict(only).get(path.parent.name, (train, validation)), strict=True)
            )
            rows = read_table(path)
            truth = rows.label.map(list(classes).index).to_numpy()
            strength = rows.part.map(strengths).fillna(0).to_numpy()[:, None]
            # the posterior of normal scores with this distance between the classes: calibrated
            scores = strength * (strength * np.eye(len(classes))[truth] + rng.normal(size=(len(rows), len(classes))))
            probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
            write_predictions_csv(
                path, rows.assign(**{f"probability_{c}": probabilities[:, k] for k, c in enumerate(classes)})
            )
            write_training_files(path)
            fitted = (rows.part == "train").to_numpy()
            loss = log_loss(truth[fitted], probabilities[fitted]) if lowest is None else lowest
            pd.DataFrame({"epoch": [0, 1], "train_loss": [1.2, loss]}).to_csv(
                path.with_name("history.csv"), index=False
            )
        cautions = learning_cautions([FoldResult.at(path) for path in paths])
        assert list(cautions) == [KEY]
        return cautions[KEY]

    return make


def test_a_model_that_learned_needs_no_caution(cautions_of):
    assert cautions_of(2.5, 1.5) == []
    assert cautions_of(2.5, 1.5, seeds=2, classes="abc") == []


@pytest.mark.parametrize("classes", ["ab", "abc"])
def test_trainings_that_never_left_their_plateau_are_named_by_fold(cautions_of, classes):
    (line,) = cautions_of(2.5, 1.5, {"fold_1": (0.1, 0)}, classes=classes)
    assert line.startswith("set, ro: 1 of 3 trainings (fold 1) never left their plateau: ")
    assert "a higher training.learning_rate" in line
    (line,) = cautions_of(0.1, 0.1, seeds=2, classes=classes)
    assert line.startswith("set, ro: all 6 trainings never left their plateau: ")


def test_trainings_whose_kept_epoch_is_one_before_they_learned_overfit_instead(cautions_of):
    """A lower learning rate, not a higher one, would help: their training loss did fall."""
    (line,) = cautions_of(0.1, 0.1, lowest=0.01)
    assert line.startswith(
        "set, ro: all 3 trainings overfit from the start (validation loss rose while training loss fell"
    )
    assert "training.tile_fraction" in line and "learning_rate" not in line


def test_a_model_that_fits_its_training_slides_alone_memorized(cautions_of):
    (line,) = cautions_of(3, 0.1)
    assert "set, ro: all 3 trainings fit their training slides far better than validation slides" in line
    assert "training.tile_fraction" in line
    stuck, overfit = cautions_of(3, 0.1, {"fold_0": (0.1, 0.1)})
    assert "1 of 3 trainings (fold 0) never left" in stuck and "2 of 3 trainings (folds 1, 2) fit" in overfit


def test_few_validation_slides_decide_nothing(cautions_of):
    """Six per fold that are predicted at random, against 30 per fold: the first have an interval that includes a perfect AUROC."""
    assert cautions_of(3, 0.1, slides=18) == []
    assert len(cautions_of(3, 0.1)) == 1


def test_cross_entropy_is_relative_to_class_frequencies():
    labels = np.array([0, 0, 0, 1, 2, 2])
    frequencies = np.tile(np.bincount(labels) / 6, (6, 1))
    assert relative_cross_entropy(labels, frequencies) == pytest.approx(1)
    assert relative_cross_entropy(labels, np.eye(3)[labels]) == pytest.approx(0)
    other = np.random.default_rng(0).dirichlet(np.ones(3), 6)
    assert relative_cross_entropy(labels, other) == pytest.approx(
        log_loss(labels, other) / log_loss(labels, frequencies)
    )
    assert np.isnan(relative_cross_entropy(np.zeros(3, int), np.eye(3)))


def test_weighted_classes_count_as_they_did_in_training():
    """A model that was trained on balanced classes and knows no more is on its plateau, though guessing by the slides' own
    frequencies would have a lower cross-entropy."""
    labels, even = np.repeat([0, 1], [90, 10]), np.full((100, 2), 0.5)
    balanced = np.where(labels == 1, 5, 5 / 9)
    assert relative_cross_entropy(labels, even, balanced) == pytest.approx(1)
    assert relative_cross_entropy(labels, even) > 2
    folds, slides = np.zeros(100, int), np.array([f"s{k}" for k in range(100)])
    train = OutOfFold("set", "net", "m", Classification(("a", "b")), slides, slides, folds, labels, even, folds)
    (one,) = describe_learning(train, train, {(0, 0): np.log(2)}, Training(class_weights="balanced"))
    assert one.on_plateau and not one.is_discarded


def test_strengths_of_a_linear_model_are_no_training_that_went_wrong(tmp_path):
    run = SimulatedRun(tmp_path)
    run.add_model("set", run.add_dataset("set", ["a", "b"]), ["a", "b"], strength=0.0)
    assert any(learning_cautions(read_results(run.predictions)).values())
    for path in run.predictions:
        write_training_files(path, model=to_json(Model(name="mean-linear", id="abmil")))
    assert learning_cautions(read_results(run.predictions)) == {("set", "net", "abmil"): []}


def test_the_plateau_ends_at_an_auroc_of_two_thirds_or_so():
    """Of calibrated normal scores of two equal classes: cross-entropy over log 2 at an AUROC of 0.65."""
    distance = np.sqrt(2) * norm.ppf(0.65)
    value, _ = quad(lambda x: norm.pdf(x, distance / 2) * np.log1p(np.exp(-distance * x)), -10, 10)
    assert value / np.log(2) == pytest.approx(PLATEAU, abs=0.005)


@pytest.mark.parametrize("task", [Survival(), Regression()], ids=["survival", "regression"])
def test_other_tasks_are_judged_by_their_main_metric(task):
    """Against guessing: a C-index of 0.5, an R2 of 0."""
    labels = survival_labels(60) if task.name == "survival" else [f"{k % 13}" for k in range(60)]
    targets, folds, slides = task.targets(labels), np.zeros(60, int), np.array([f"s{k}" for k in range(60)])
    exact = -targets[:, :1] if targets.ndim == 2 else targets[:, None]
    predictions = np.repeat(exact, len(task.columns), axis=1)
    train = OutOfFold("set", "net", "m", task, slides, slides, folds, targets, predictions, folds)
    validation = replace(train, predictions=np.full_like(predictions, predictions.mean()))
    (memorized,), (stuck,) = (describe_learning(one, validation, {}) for one in (train, validation))
    assert (memorized.train, memorized.validation) == pytest.approx((1, task.chance), abs=1e-9)
    assert not memorized.on_plateau and stuck.on_plateau and not stuck.is_discarded


def test_a_memorized_survival_training_is_named(tmp_path):
    labels = survival_labels(90)
    run, task = SimulatedRun(tmp_path), Survival().fit(labels)
    folds = run.add_dataset("set", slides=90, labels=labels)
    paths = run.add_model("set", folds, task, strength=0.0)
    for path in paths:
        table = pd.read_csv(path)
        times = task.targets(table.label.astype(str))[:, 0]
        table.loc[table.part == "train", "risk"] = 1 / (1 + times[table.part == "train"])
        write_predictions_csv(path, table)
        write_training_files(path, task=task.to_json())
    (line,) = learning_cautions(read_results(run.predictions))["set", "net", "abmil"]
    assert (
        line.startswith("set, abmil: ")
        and "fit their training slides far better than validation slides (C-index 1.00" in line
    )
