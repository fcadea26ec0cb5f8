"""A fold trained on patients: one row each, predicted from all of their slides."""

import json
from dataclasses import replace

import pytest

from roformermil.bags.dataset import BagDataset
from roformermil.bags.folds import FoldRow
from roformermil.config import Model, Training
from roformermil.errors import FoldsError
from roformermil.evaluation.consistency import compare_settings
from roformermil.evaluation.fold_results import FoldResult
from roformermil.evaluation.predictions import out_of_fold
from roformermil.models.inference import load_model
from roformermil.tasks.classification import PROBABILITY_PREFIX
from roformermil.training import Fit, TrainingJob, train_fold
from tests.factories import assert_same_numbers, read_rows


@pytest.fixture
def patient_job(make_stores):
    """12 patients of one to three slides; those of class b are shifted by one standard deviation."""
    rows, parts = [], ["train"] * 6 + ["validation"] * 2 + ["test"] * 4
    for patient, part in enumerate(parts):
        label = "ab"[patient % 2]
        rows += [FoldRow(0, f"s{patient}_{k}", f"p{patient}", label, part) for k in range(1 + patient % 3)]
    tiles = {row.slide_id: 4 + k % 5 for k, row in enumerate(rows)}
    stores = make_stores(tiles, shift={row.slide_id: float(row.label == "b") for row in rows})
    model = Model(name="ro-abmil", hidden_dim=32, attention_dim=16, num_heads=4)
    training = Training(learning_rate=3e-3, epochs=4, epoch_steps=1, tile_fraction=0.7)
    return TrainingJob("set", 0, rows, stores, ["a", "b"], model, training, "patient")


def test_each_patient_has_one_row_that_the_saved_model_predicts_from_all_slides(patient_job, tmp_path):
    out = tmp_path / "set/net/ro-abmil/fold_0"
    train_fold(patient_job, out, progress=False)
    rows, model = read_rows(out / "predictions.csv"), load_model(out / "model.safetensors")
    assert model.unit == "patient" and list(rows[0])[:3] == ["patient_id", "label", "part"]
    bags = BagDataset(patient_job.rows, patient_job.stores, ["a", "b"], unit="patient")
    expected = {bag[0].patient_id: model.predict_bag(bags[k]).probabilities for k, bag in enumerate(bags.bags)}
    assert sorted(row["patient_id"] for row in rows) == sorted(expected) and len(rows) == 12
    for row in rows:
        assert float(row[f"{PROBABILITY_PREFIX}b"]) == pytest.approx(expected[row["patient_id"]][1], abs=1e-6)
    assert set(json.loads(model.metadata["features"])) == {row.slide_id for row in patient_job.rows}
    assert {row["patient_id"] for row in read_rows(out / "shuffled.csv")} == {"p8", "p9", "p10", "p11"}
    (predictions,) = out_of_fold([FoldResult.at(out / "predictions.csv")])
    assert predictions.unit == "patient" and predictions.shuffled.shape == (5, 4, 2)
    assert predictions.slides.tolist() == predictions.patients.tolist() == ["p8", "p9", "p10", "p11"]
    settings = FoldResult.at(out / "predictions.csv").settings
    (line,) = compare_settings(settings, settings | {"unit": "slide"})
    assert line == "trained with unit patient instead of slide"
    train_fold(patient_job, tmp_path / "again", progress=False)
    assert_same_numbers(out, tmp_path / "again")


def test_a_patient_with_one_slide_each_trains_as_slides_do(patient_job, tmp_path):
    alone = [replace(row, patient_id=row.slide_id) for row in patient_job.rows]
    for unit in ("slide", "patient"):
        train_fold(replace(patient_job, rows=alone, unit=unit), tmp_path / unit, progress=False)
    slide, patient = (read_rows(tmp_path / unit / "predictions.csv") for unit in ("slide", "patient"))
    assert [{**row, "slide_id": row["patient_id"]} for row in patient] == slide


def test_slides_of_a_patient_with_different_labels_stop_the_training(patient_job):
    rows = [replace(row, label="a") if row.slide_id == "s5_0" else row for row in patient_job.rows]
    with pytest.raises(FoldsError, match=r"p5 \(s5_0: a, s5_1: b, s5_2: b\)"):
        Fit(replace(patient_job, rows=rows))
