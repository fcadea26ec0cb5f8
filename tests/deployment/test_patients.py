"""A model of patients packaged, and patients predicted with it: all slides of a slide sheet's patient together."""

import logging
from pathlib import Path

import numpy as np
import pytest

from roformermil.bags.dataset import join_slides
from roformermil.bags.folds import make_folds, write_folds
from roformermil.bags.leakage import find_leaks, write_findings
from roformermil.cohort.slide_sheet import Slide
from roformermil.cohort.slide_table import SlideRecord, write_slides_csv
from roformermil.config import Folds, Leakage, Model, Training
from roformermil.deployment.export import export_model
from roformermil.deployment.model_card import Preparation, read_card
from roformermil.deployment.predict import predict
from roformermil.errors import ModelError
from roformermil.features.store import read_store, write_store
from roformermil.models.inference import load_model
from roformermil.training import TrainingJob, train_fold
from tests.factories import read_rows
from tests.features.h5 import write_h5

CLASSES, MODEL = ["a", "b"], Model(name="ro-abmil", hidden_dim=16, attention_dim=8, num_heads=2)


def write_slide(path, seed, encoder="net"):
    rng, tiles = np.random.default_rng(seed), 4 + seed % 5
    grid = np.stack([np.arange(tiles) % 3, np.arange(tiles) // 3], axis=1)
    attributes = {"slide_id": path.stem, "encoder": encoder, "base_px": 256}
    write_store(path, rng.normal(seed % 2, 1, (tiles, 8)), grid * 256, grid, attributes)
    return tiles


@pytest.fixture(scope="module", params=["patient", "slide"])
def lab(request, tmp_path_factory):
    """The unit, and the folder of a run on 12 patients of two slides each with its package, and of three new slides."""
    folder, unit = tmp_path_factory.mktemp("lab"), request.param
    data, stores = folder / "set", folder / "set/features/net"
    slides = [Slide(f"s{k}", f"p{k // 2}", CLASSES[k // 2 % 2], Path(f"s{k}.h5"), None) for k in range(24)]
    records = [
        SlideRecord(s.slide_id, s.path, tiles=write_slide(stores / f"{s.slide_id}.zarr", k))
        for k, s in enumerate(slides)
    ]
    rows = make_folds(slides, Folds(count=3), CLASSES)
    write_slides_csv(data / "slides.csv", records)
    write_folds(data / "folds.csv", rows)
    write_findings(find_leaks(rows, slides, records), Leakage(), Folds(), "set", data / "leakage.csv")
    for fold in range(3):
        here = [row for row in rows if row.fold == fold]
        job = TrainingJob("set", fold, here, stores, CLASSES, MODEL, Training(epochs=1, epoch_steps=1), unit)
        train_fold(job, data / f"net/ro-abmil/fold_{fold}", progress=False)
    predictions = sorted(data.glob("net/ro-abmil/fold_*/predictions.csv"))
    export_model(predictions, data, stores, Preparation(), folder / "model")
    for k in (100, 101, 102):
        write_slide(folder / f"new/n{k}.zarr", k)
    sheet = (
        "slide_id,patient_id,path\nn100,new1,n100.zarr\nn102,new2,n102.zarr\nn101,new1,n101.zarr\ngone,new2,gone.zarr\n"
    )
    write_slide(folder / "new/gone.zarr", 103, encoder="other")
    (folder / "new/slides.csv").write_text(sheet)
    return unit, folder


def test_the_card_says_what_is_predicted_and_counts_slides_and_patients(lab):
    unit, folder = lab
    card, text = read_card(folder / "model"), (folder / "model/README.md").read_text()
    assert (card.unit, card.training_data.slides, card.training_data.patients) == (unit, 24, 12)
    tiles = [4 + k % 5 for k in range(24)]
    expected = [sum(pair) for pair in zip(tiles[::2], tiles[1::2], strict=True)] if unit == "patient" else tiles
    assert (card.training_data.tiles.least, card.training_data.tiles.most) == (min(expected), max(expected))
    assert ("This model predicts patients" in text) == (unit == "patient") == (not card.by_patient)
    assert ("By patient, with the mean prediction" in text) == (unit == "slide")


def test_slides_of_a_patient_are_predicted_together_or_averaged(lab, tmp_path):
    """Compared with the folds' models on the slides' features: no code of `predict`."""
    unit, folder = lab
    rows = {
        row["slide_id"]: row for row in predict([folder / "new/slides.csv"], folder / "model", tmp_path, progress=False)
    }
    members = [load_model(folder / f"set/net/ro-abmil/fold_{k}/model.safetensors") for k in range(3)]
    stores = {name: read_store(folder / f"new/{name}.zarr") for name in ("n100", "n101", "n102")}

    def expected(*names):
        bag = join_slides({name: stores[name] for name in names})
        return np.mean([member.predict_bag(bag).probabilities[1] for member in members], axis=0)

    alone = {name: expected(name) for name in stores}
    together = expected("n100", "n101")
    mean = (alone["n100"] + alone["n101"]) / 2
    for name in ("n100", "n101"):
        value = together if unit == "patient" else alone[name]
        assert rows[name]["probability_b"] == pytest.approx(value, abs=1e-6) and rows[name]["patient_id"] == "new1"
        assert rows[name]["tiles"] == len(stores[name].grid)
    assert abs(together - mean) > 1e-5, "the two differ"
    assert rows["n102"]["probability_b"] == pytest.approx(alone["n102"], abs=1e-6)
    assert ("1 of the patient's 2 slides cannot be used" in rows["n102"]["warnings"]) == (unit == "patient")
    assert rows["gone"]["status"] == "wrong_features"
    patients = {row["patient_id"]: row for row in read_rows(tmp_path / "patients.csv")}
    assert float(patients["new1"]["probability_b"]) == pytest.approx(together if unit == "patient" else mean, abs=1e-6)
    assert [(row["slides"], row["lost"]) for row in patients.values()] == [("2", "0"), ("1", "1")]
    value = float(patients["new1"]["probability_b"])
    assert patients["new1"]["predicted"] == CLASSES[int(value > 0.5)]
    points = read_card(folder / "model").decisions.classes
    assert patients["new1"]["decision"] == (CLASSES[int(value >= points["b"].threshold)] if points else "")


def test_feature_files_of_another_pipeline_are_imported_and_predicted(lab, tmp_path):
    _, folder = lab
    (tmp_path / "h5").mkdir()
    for name in ("n100", "n101"):
        slide = read_store(folder / f"new/{name}.zarr")
        write_h5(tmp_path / f"h5/{name}.h5", slide.features, slide.coords, mpp=0.5, patch_size_level0=256)
    stores = [folder / f"new/{name}.zarr" for name in ("n100", "n101")]
    model = folder / "model"
    expected = {row["slide_id"]: row["probability_b"] for row in predict(stores, model, tmp_path / "a", progress=False)}
    for given in ([tmp_path / "h5"], sorted((tmp_path / "h5").iterdir())):
        rows = predict(given, model, tmp_path / "b", progress=False)
        assert {row["slide_id"]: row["probability_b"] for row in rows} == pytest.approx(expected, abs=1e-6)
    (tmp_path / "s.svs").touch()
    with pytest.raises(ModelError, match=r"takes only such, as .h5 or .zarr, not s.svs"):
        predict([tmp_path / "s.svs"], model, tmp_path / "c", progress=False)


def test_slides_without_a_sheet_are_patients_of_their_own(lab, tmp_path, caplog):
    unit, folder = lab
    with caplog.at_level(logging.WARNING):
        predict([folder / "new/n100.zarr", folder / "new/n101.zarr"], folder / "model", tmp_path, progress=False)
    assert ("each is predicted as a patient of its own" in caplog.text) == (unit == "patient")
    assert not (tmp_path / "patients.csv").exists()
