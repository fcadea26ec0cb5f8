"""Training for survival and regression: small models learn what is in the features."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import check_grad
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score

from roformermil.bags.folds import make_folds
from roformermil.cohort.slide_sheet import Slide
from roformermil.config import Folds, Model, Training
from roformermil.evaluation.fold_results import FoldResult
from roformermil.features.store import read_store, write_store
from roformermil.models.build import ModelOutput, mil_loss
from roformermil.models.inference import load_model
from roformermil.tasks import make_task
from roformermil.tasks.linear import fit_ridge, fit_shared_weights
from roformermil.tasks.survival import concordance, parse_survival
from roformermil.training import TrainingJob, train_fold
from tests.factories import read_rows

SLIDES, TILES = 60, 9


@pytest.fixture
def made(tmp_path):
    """made(task, model): the job of a fold whose slides' first feature is as high as the patient's risk."""
    rng, labels = np.random.default_rng(0), {"survival": [], "regression": []}
    grid = np.stack([np.arange(TILES) % 3, np.arange(TILES) // 3], axis=1).astype(np.int32)
    for k in range(SLIDES):
        risk = rng.normal()
        features = (rng.normal(size=(TILES, 6)) + np.eye(6)[0] * 2 * risk).astype(np.float16)
        write_store(tmp_path / f"stores/s{k}.zarr", features, grid * 256, grid, {})
        event, censoring = rng.exponential(20 * np.exp(-3 * risk)), rng.exponential(200)
        labels["survival"].append(f"{min(event, censoring):.3f}" + "+" * (censoring < event))
        labels["regression"].append(f"{30 + 5 * risk:.2f}")

    def make(name, model):
        task = make_task(name)
        slides = [Slide(f"s{k}", f"p{k}", labels[name][k], Path("x.svs"), None) for k in range(SLIDES)]
        rows = [row for row in make_folds(slides, Folds(count=3), task) if row.fold == 0]
        size = {} if model == "mean-linear" else {"hidden_dim": 16, "attention_dim": 8, "num_heads": 2}
        training = Training(epochs=5, learning_rate=1e-2, epoch_steps=10)
        return TrainingJob("d", 0, rows, tmp_path / "stores", task, Model(name=model, **size), training)

    return make


@pytest.mark.parametrize("model", ["mean-linear", "abmil"])
@pytest.mark.parametrize("name", ["survival", "regression"])
def test_models_learn_and_their_file_says_of_what(made, tmp_path, name, model):
    out = tmp_path / f"d/net/{model}/fold_0"
    job = made(name, model)
    train_fold(job, out, progress=False)
    tests = [row for row in read_rows(out / "predictions.csv") if row["part"] == "test"]
    columns = {"survival": ["risk", *(f"survival_{k}" for k in range(1, 5))], "regression": ["prediction"]}[name]
    assert list(tests[0]) == ["slide_id", "patient_id", "label", "part", *columns]
    first = np.array([float(row[columns[0]]) for row in tests])
    if name == "survival":
        times, events = np.array([parse_survival(row["label"]) for row in tests]).T
        assert concordance(times, events > 0, first, np.ones((1, len(tests))))[0] > 0.7
    else:
        assert r2_score([float(row["label"]) for row in tests], first) > 0.6
    result = FoldResult.at(out / "predictions.csv")
    assert result.task.name == name == json.loads(result.metadata["task"])["task"] and result.settings["task"] == name
    slide = read_store(job.stores / f"{tests[0]['slide_id']}.zarr")
    prediction = load_model(result.model_file).predict(slide.features, slide.grid)
    assert prediction.values.tolist() == pytest.approx([float(tests[0][column]) for column in columns], rel=1e-5)
    assert prediction.margins.shape == prediction.map_attention.shape == (TILES, 1)
    assert set(read_rows(out / "history.csv")[0]) >= {
        "validation_loss",
        f"validation_{next(iter(result.task.metrics))}",
    }


def test_contributions_of_tiles_sum_to_what_moves_the_prediction(made, tmp_path):
    """Of a regression in units of the label: a bag's contributions and the model's bias are its prediction."""
    job = made("regression", "abmil")
    train_fold(job, tmp_path / "out", progress=False)
    model = load_model(tmp_path / "out/model.safetensors")
    stores = [read_store(job.stores / f"s{k}.zarr") for k in range(3)]
    predictions = [model.predict(store.features, store.grid) for store in stores]
    biases = [one.values[0] - one.margins.sum() for one in predictions]
    assert biases == pytest.approx([biases[0]] * 3, abs=1e-3)
    assert np.ptp([one.values[0] for one in predictions]) > 1


def test_the_loss_of_dsmil_is_the_mean_of_two_losses_of_the_task():
    task = make_task("survival").fit(["1", "2", "3", "4", "5+"])
    logits, instances = torch.randn(2, 4), torch.randn(5, 4)
    targets = torch.from_numpy(task.targets(["2", "5+"]))
    highest = torch.stack([instances[:3].amax(dim=0), instances[3:].amax(dim=0)])
    expected = (task.loss(logits, targets).mean() + task.loss(highest, targets).mean()) / 2
    assert mil_loss(ModelOutput(logits, logits, instances), targets, [3, 2], None, task) == pytest.approx(expected)


def test_the_linear_regression_is_scikit_learns_ridge():
    features, values = np.random.default_rng(0).normal(size=(20, 5)), np.arange(20.0)
    weights, biases = fit_ridge(features, values, 0.25)
    ridge = Ridge(alpha=2.0).fit(features, values)
    assert weights[0] == pytest.approx(ridge.coef_) and biases[0] == pytest.approx(ridge.intercept_)
    shared, _ = fit_shared_weights(features, lambda out: (out[:, 0] - torch.from_numpy(values)) ** 2, 1, 0.25)
    assert shared[0] == pytest.approx(ridge.coef_, abs=1e-3)


def test_the_linear_hazards_are_an_optimum_and_stronger_penalties_shrink_them():
    """Weights of all intervals are the same; the gradient of the penalised loss is zero there."""
    rng = np.random.default_rng(1)
    features = rng.normal(size=(40, 3))
    labels = [f"{t:.3f}" + "+" * (k % 3 == 0) for k, t in enumerate(rng.exponential(np.exp(-features[:, 0])))]
    task = make_task("survival").fit(labels)
    targets = task.targets(labels)
    weights, biases = task.fit_linear(features, targets, 0.5)
    assert (weights == weights[0]).all() and len(biases) == 4

    def objective(parameters):
        logits = torch.from_numpy((features @ parameters[:3])[:, None] + parameters[3:])
        return 0.5 * float(task.loss(logits, torch.from_numpy(targets)).sum()) + (parameters[:3] ** 2).sum() / 2

    found = np.append(weights[0], biases)
    assert check_grad(objective, lambda _: np.zeros(7), found) < 0.02
    assert np.linalg.norm(task.fit_linear(features, targets, 1e-3)[0]) < np.linalg.norm(weights) / 10
