"""The baseline of mean features, against scikit-learn on the same slides."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.preprocessing import StandardScaler

from roformermil.bags.folds import make_folds
from roformermil.cohort.slide_sheet import Slide
from roformermil.config import Folds, Model
from roformermil.errors import ConfigError
from roformermil.features.store import read_store, write_store
from roformermil.models.build import build_model
from roformermil.models.inference import load_model
from roformermil.training import train_fold
from roformermil.training.fold import start_fit
from roformermil.training.linear import INVERSE_STRENGTHS
from tests.factories import assert_same_numbers, read_rows


@pytest.fixture
def linear(job):
    """linear(**training settings): the job of easy bags, for mean-linear."""
    return lambda **training: replace(job(**training), model=Model(name="mean-linear"))


def expected(made, class_weight=None):
    """scikit-learn's probabilities of all slides, by slide_id, and its C: the best of the same on the validation slides."""
    stores = {
        row.slide_id: read_store(made.stores / f"{row.slide_id}.zarr").features.astype(float) for row in made.rows
    }
    of_part = {part: [row for row in made.rows if row.part == part] for part in ("train", "validation")}
    train = of_part["train"]
    weights = np.concatenate([np.full(len(stores[r.slide_id]), 1 / len(stores[r.slide_id])) for r in train])
    scaler = StandardScaler().fit(np.concatenate([stores[row.slide_id] for row in train]), sample_weight=weights)
    means = {name: scaler.transform(tiles).mean(axis=0) for name, tiles in stores.items()}
    fits = []
    for inverse in INVERSE_STRENGTHS:
        fitted = LogisticRegression(C=inverse, class_weight=class_weight, max_iter=1000)
        fitted.fit([means[row.slide_id] for row in train], [row.label for row in train])
        rows = of_part["validation"]
        loss = log_loss([row.label for row in rows], fitted.predict_proba([means[row.slide_id] for row in rows]))
        fits.append((loss, inverse, fitted))
    _, inverse, best = min(fits, key=lambda one: one[:2])
    return dict(zip(means, best.predict_proba(list(means.values())), strict=True)), inverse


@pytest.mark.parametrize("classes", ["ab", "abc"])
def test_it_is_scikit_learns_logistic_regression_of_mean_features(linear, make_stores, tmp_path, classes):
    slides = [Slide(f"t{k:02d}", f"p{k:02d}", classes[k % len(classes)], tmp_path, None) for k in range(36)]
    shift = {s.slide_id: 0.3 * classes.index(s.label) for s in slides}
    make_stores({s.slide_id: 3 + k % 7 for k, s in enumerate(slides)}, shift=shift)
    rows = [row for row in make_folds(slides, Folds(count=3), classes) if row.fold == 0]
    made = replace(linear(), rows=rows, task=list(classes))
    train_fold(made, tmp_path / "out", progress=False)
    probabilities, inverse = expected(made)
    history, metadata = read_rows(tmp_path / "out/history.csv"), load_model(tmp_path / "out/model.safetensors").metadata
    assert [float(row["C"]) for row in history] == pytest.approx(INVERSE_STRENGTHS)
    assert float(history[int(metadata["best_epoch"])]["C"]) == pytest.approx(inverse)
    written = read_rows(tmp_path / "out/predictions.csv")
    assert {row["slide_id"] for row in written} == set(probabilities)
    for row in written:
        found = [float(row[f"probability_{name}"]) for name in classes]
        assert found == pytest.approx(probabilities[row["slide_id"]], abs=2e-3)
    assert read_rows(tmp_path / "out/shuffled.csv") == []


def test_its_file_predicts_and_divides_the_prediction_among_tiles(linear, tmp_path):
    made = linear()
    train_fold(made, tmp_path / "out", progress=False)
    model = load_model(tmp_path / "out/model.safetensors")
    bias = model.model.head.classifier.bias.tolist()
    for row in read_rows(tmp_path / "out/predictions.csv"):
        store = read_store(made.stores / f"{row['slide_id']}.zarr")
        prediction = model.predict(store.features, store.grid)
        stated = [float(row[f"probability_{c}"]) for c in "ab"]
        assert prediction.probabilities.tolist() == pytest.approx(stated, abs=1e-6)
        log_odds = prediction.margins[:, 1].sum() + bias[1] - bias[0]
        assert log_odds == pytest.approx(np.log(stated[1] / stated[0]), abs=1e-3)
        assert prediction.attention == pytest.approx(1 / len(store.features))


def test_it_repeats_exactly_and_test_slides_do_not_matter(linear, tmp_path):
    made = linear()
    train_fold(made, tmp_path / "one", progress=False)
    train_fold(made, tmp_path / "two", progress=False)
    assert_same_numbers(tmp_path / "one", tmp_path / "two")
    without = replace(made, rows=[row for row in made.rows if row.part != "test"])
    assert start_fit(without).inputs["train"] == pytest.approx(start_fit(made).inputs["train"])


def test_class_weights_and_sampler_weigh_its_slides_as_scikit_learn_does(linear, tmp_path):
    """Of unequal classes; the loss of the validation slides is weighted likewise, so another strength may be chosen."""
    made = linear(class_weights="balanced")
    kept = [row for k, row in enumerate(made.rows) if row.label == "a" or row.part != "train" or k % 3 == 0]
    made = replace(made, rows=kept)
    drawn = replace(made, training=made.training.model_copy(update={"class_weights": "none", "sampler": "balanced"}))
    plain = replace(made, training=made.training.model_copy(update={"class_weights": "none"}))
    coefficients = []
    for job in (made, drawn, plain):
        fit = start_fit(job)
        fit.epoch(5)
        coefficients.append(fit.model.head.classifier.weight[1].detach().double().numpy() * 2)
    train = [row.label for row in kept if row.part == "train"]
    assert train.count("a") > 1.5 * train.count("b")
    reference = LogisticRegression(C=INVERSE_STRENGTHS[5], class_weight="balanced", max_iter=1000)
    reference.fit(start_fit(made).inputs["train"], train)
    assert coefficients[0] == pytest.approx(reference.coef_[0], abs=1e-4)
    assert coefficients[1] == pytest.approx(coefficients[0]) and not np.allclose(coefficients[2], coefficients[0])


def test_it_has_no_layers_to_set(linear):
    with pytest.raises(ConfigError, match="mean-linear has no layers: hidden_dim, dropout would have no effect"):
        build_model({"name": "mean-linear", "hidden_dim": 64, "dropout": 0.1}, 16, 2)
    model = build_model("mean-linear", 16, 3)
    assert sum(p.numel() for p in model.parameters()) == 16 * 3 + 3
    out = model(torch.randn(5, 16).half(), torch.zeros(5, 2), [2, 3])
    assert out.logits.shape == (2, 3) and out.logits.dtype == torch.float32


@pytest.mark.slow
def test_a_model_that_learned_the_site_is_found_out_where_sites_are_kept_together(linear, tmp_path):
    """Features tell the site alone, and most slides of a site have one class: guessing the site's class is no skill elsewhere."""
    rng, slides = np.random.default_rng(0), []
    for site in range(8):
        stain = np.eye(16)[site]  # that of one site tells nothing about another's
        for patient in range(6):
            label = "ab"[int(rng.random() < (0.85 if site % 2 else 0.15))]
            slide = Slide(f"t{site}_{patient}", f"q{site}_{patient}", label, tmp_path, None, site=f"h{site}")
            features, grid = np.tile(stain, (5, 1)), np.stack([np.arange(5), np.zeros(5, int)], axis=1)
            write_store(tmp_path / f"{slide.slide_id}.zarr", features, grid * 256, grid, {})
            slides.append(slide)
    areas = {}
    for mode in ("kfold", "site"):
        rows, found = make_folds(slides, Folds(count=3, mode=mode), "ab"), []
        for fold in range(3):
            out = tmp_path / mode / f"fold_{fold}"
            train_fold(replace(linear(), rows=[row for row in rows if row.fold == fold]), out, progress=False)
            tested = [row for row in read_rows(out / "predictions.csv") if row["part"] == "test"]
            scores = [float(row["probability_b"]) for row in tested]
            found.append(roc_auc_score([row["label"] == "b" for row in tested], scores))
        areas[mode] = np.mean(found)
    assert areas["kfold"] > 0.75 and areas["site"] == pytest.approx(0.5)
