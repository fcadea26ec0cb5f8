"""Training with covariates: alone against scikit-learn, beside features, and on slides of another data set."""

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler

from roformermil.cohort.covariates import read_covariate_table, write_covariates
from roformermil.config import Model
from roformermil.errors import BagError, ConfigError
from roformermil.features.store import read_store
from roformermil.models.inference import load_model
from roformermil.training import Fit, train_fold
from roformermil.training.external import predict_external
from roformermil.training.linear import INVERSE_STRENGTHS
from tests.factories import assert_same_numbers, read_rows

SIZES = {"hidden_dim": 32, "attention_dim": 16, "num_heads": 4, "dropout": 0.1}
ABMIL = Model(name="abmil", id="fused", covariates=True, **SIZES)


@pytest.fixture
def covariates(job, tmp_path):
    """covariates.csv: slides of class b are ten years older, and often of stage II."""
    rng, table = np.random.default_rng(0), {}
    for row in job().rows:
        is_b = row.label == "b"
        stage = "II" if rng.random() < (0.8 if is_b else 0.3) else "I"
        table[row.slide_id] = {"age": f"{rng.normal(60 + 10 * is_b, 5):.1f}", "stage": stage}
    write_covariates(tmp_path / "covariates.csv", table, ["age", "stage"])
    return tmp_path / "covariates.csv"


@pytest.fixture
def with_covariates(job, covariates):
    """with_covariates(model, **training settings): the job of easy bags, for this model."""
    return lambda model, **training: replace(job(**training), model=model, covariates=covariates)


def test_covariates_alone_are_the_regression_of_scikit_learn_with_which_fusion_begins(with_covariates, tmp_path):
    made = with_covariates(Model(name="covariates"))
    train_fold(made, tmp_path / "out", progress=False)
    table = read_covariate_table(made.covariates)
    x, labels = {}, {}
    for part in ("train", "validation", "test"):
        rows = [row for row in made.rows if row.part == part]
        cells = [table[row.slide_id] for row in rows]
        x[part] = np.array([[float(one["age"]), one["stage"] == "I", one["stage"] == "II"] for one in cells])
        labels[part] = [row.label for row in rows]
    scaler = StandardScaler().fit(x["train"][:, :1])
    for values in x.values():
        values[:, :1] = scaler.transform(values[:, :1])
    fits = [LogisticRegression(C=c, max_iter=1000).fit(x["train"], labels["train"]) for c in INVERSE_STRENGTHS]
    best = min(fits, key=lambda fit: log_loss(labels["validation"], fit.predict_proba(x["validation"])))
    stated = [row for row in read_rows(tmp_path / "out/predictions.csv") if row["part"] == "test"]
    expected = best.predict_proba(x["test"])[:, 1]
    assert [float(row["probability_b"]) for row in stated] == pytest.approx(expected.tolist(), abs=1e-4)
    assert read_rows(tmp_path / "out/shuffled.csv") == []
    model = load_model(tmp_path / "out/model.safetensors")
    store = read_store(made.stores / f"{stated[0]['slide_id']}.zarr")
    alone = model.predict(store.features, store.grid, covariates=table[stated[0]["slide_id"]])
    assert alone.probabilities[1] == pytest.approx(expected[0], abs=1e-4) and not alone.contributions.any()
    with pytest.raises(BagError, match="the model needs the covariates age, stage: give them"):
        model.predict(store.features, store.grid)
    fused = Fit(with_covariates(ABMIL)).model
    assert (fused.fusion[1] - fused.fusion[0]).tolist() == pytest.approx(best.coef_[0].tolist(), abs=1e-3)
    bias = fused.head.classifiers.bias
    assert (bias[1] - bias[0]).item() == pytest.approx(best.intercept_.item(), abs=1e-3), "where fusion begins"


def test_fusion_learns_from_covariates_and_repeats_exactly(with_covariates, covariates, tmp_path):
    """The covariates of validation and test slides do not decide the coding."""
    made = with_covariates(ABMIL, epochs=3, epoch_steps=8)
    store = read_store(made.stores / "s00.zarr")
    for name in ("one", "two"):
        train_fold(made, tmp_path / name, progress=False)
    assert_same_numbers(tmp_path / "one", tmp_path / "two")
    metadata = load_model(tmp_path / "one/model.safetensors").metadata
    table = read_covariate_table(covariates)
    ages = [float(table[row.slide_id]["age"]) for row in made.rows if row.part == "train"]
    number = json.loads(metadata["covariates"])["columns"][0]
    assert (number["mean"], number["std"]) == pytest.approx((np.mean(ages), np.std(ages)))
    model = load_model(tmp_path / "one/model.safetensors")
    cells = ({"age": "90", "stage": "II"}, {"age": "30", "stage": "I"})
    probabilities = [model.predict(store.features, store.grid, covariates=one).probabilities for one in cells]
    old, young = (np.log(b / a) for a, b in probabilities)
    assert old > young + 0.1
    first, second = (model.predict(store.features, store.grid, covariates=one).covariate_margins for one in cells)
    assert first[1] - second[1] == pytest.approx(old - young, abs=1e-4)


def test_a_model_without_covariates_is_not_changed_by_them(job, covariates, tmp_path):
    train_fold(job(epochs=2), tmp_path / "without", progress=False)
    train_fold(replace(job(epochs=2), covariates=covariates), tmp_path / "with", progress=False)
    assert_same_numbers(tmp_path / "without", tmp_path / "with")
    assert "covariates" not in load_model(tmp_path / "with/model.safetensors").metadata


def test_slides_of_another_data_set_are_encoded_as_the_training_slides(with_covariates, tmp_path, caplog):
    made = with_covariates(ABMIL, epochs=2)
    train_fold(made, tmp_path / "out", progress=False)
    own = {row["slide_id"]: row for row in read_rows(tmp_path / "out/predictions.csv")}
    table = read_covariate_table(made.covariates)
    others = tmp_path / "others.csv"
    given = (tmp_path / "out/model.safetensors", "others", made.rows[:4], made.stores, tmp_path / "external")
    with pytest.raises(ConfigError, match="the model uses age, stage: give --covariates"):
        predict_external(*given, progress=False)
    first = made.rows[0].slide_id
    table[first] = {"age": "", "stage": "IX"}
    write_covariates(others, table, ["age", "stage"])
    with caplog.at_level("INFO"):
        predict_external(*given, progress=False, covariates=others)
    predicted = {row["slide_id"]: row for row in read_rows(tmp_path / "external/predictions.csv")}
    changed = [float(predicted[name]["probability_b"]) - float(own[name]["probability_b"]) for name in predicted]
    assert abs(changed[0]) > 1e-4 and np.abs(changed[1:]).max() < 1e-6
    assert "of 4 slides, 1 without age: taken as the training mean" in caplog.text and "(IX)" in caplog.text
    write_covariates(others, table | {first: {"age": "old", "stage": "I"}}, ["age", "stage"])
    with pytest.raises(BagError, match=f"{first}: age 'old'"):
        predict_external(*given, progress=False, covariates=others)


def test_a_model_with_covariates_needs_the_file(job):
    with pytest.raises(ConfigError, match="fused uses covariates: give --covariates, the file that `split"):
        replace(job(), model=ABMIL)
