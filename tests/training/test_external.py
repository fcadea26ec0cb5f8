"""External slides never touch training: not the folds, not the normalization, not the choice of the epoch; they are predicted."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from roformermil.bags.folds import FoldRow, read_folds
from roformermil.bags.split import split_slides
from roformermil.cohort.slide_sheet import Slide
from roformermil.cohort.slide_table import SlideRecord, write_slides_csv
from roformermil.config import Folds, Leakage, Model, Training
from roformermil.errors import BagError
from roformermil.evaluation.fold_results import EXTERNAL_FILE, SHUFFLED_FILE, FoldResult
from roformermil.evaluation.predictions import read_table
from roformermil.features.store import read_store, write_store
from roformermil.models.inference import load_model
from roformermil.training import TrainingJob, train_fold
from roformermil.training.external import predict_external
from tests.factories import read_rows

CLASSES = ["a", "b"]
MODEL = Model(name="ro-abmil", hidden_dim=16, attention_dim=8, num_heads=2)
SETTINGS = Training(epochs=2, epoch_steps=4)


def add_dataset(folder: Path, name: str, count: int, shift: float, trained: Path | None = None, width=8) -> Path:
    """Write features, slides.csv and folds.csv of a data set; returns its folder. Features have this mean."""
    data, rng = folder / name, np.random.default_rng(len(name))
    slides = [Slide(f"s{k}", f"{name}_{k}", CLASSES[k % 2], data / f"s{k}.svs", None) for k in range(count)]
    records = [SlideRecord(slide.slide_id, slide.path, content=f"{name} {slide.slide_id}") for slide in slides]
    grid = np.stack([np.arange(12) % 4, np.arange(12) // 4], axis=1)
    for slide in slides:
        features = rng.normal(shift, 1, (12, width))
        write_store(
            data / f"features/{slide.slide_id}.zarr", features, grid * 256, grid, {"fingerprint": slide.slide_id}
        )
    write_slides_csv(data / "slides.csv", records)
    split_slides(slides, records, CLASSES, Folds(count=3), Leakage(), data / "folds.csv", trained)
    return data


def train(data: Path, leaked: Sequence[FoldRow] = ()) -> Path:
    """Train fold 0; returns its folder. leaked: rows of slides that do not belong to the data set."""
    out = data / "net/ro-abmil/fold_0"
    rows = [*read_folds(data / "folds.csv", 0), *leaked]
    job = TrainingJob(data.name, 0, rows, data / "features", CLASSES, MODEL, SETTINGS)
    train_fold(job, out, progress=False)
    return out


def predict(data: Path, model: Path) -> Path:
    out = data / "net/ro-abmil/fold_0"
    rows = read_folds(data / "folds.csv", 0)
    predict_external(model / "model.safetensors", data.name, rows, data / "features", out, progress=False)
    return out


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> tuple[Path, Path, Path]:
    """A data set with a trained fold, an external one whose slides have the same names and very different features, and the fold."""
    folder = tmp_path_factory.mktemp("external")
    inside = add_dataset(folder, "inside", 12, 0)
    outside = add_dataset(folder, "outside", 6, 50, trained=inside)
    model = train(inside)
    predict(outside, model)
    return inside, outside, model


def test_a_model_is_the_same_whether_external_slides_are_there_or_not(both, tmp_path):
    inside, _, model = both
    alone = train(add_dataset(tmp_path, "inside", 12, 0))
    assert read_rows(inside / "folds.csv") == read_rows(alone.parents[2] / "folds.csv")
    first, second = (load_file(folder / "model.safetensors") for folder in (model, alone))
    assert all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("part", ["train", "validation"])
def test_one_external_slide_that_reached_training_would_show(both, tmp_path, part):
    """What the test before compares is not the same once a slide leaks: into training the parameters, into validation the loss."""
    _, outside, model = both
    data = add_dataset(tmp_path, "inside", 12, 0)
    shutil.copytree(outside / "features/s0.zarr", data / "features/leak.zarr")
    leaky = train(data, [FoldRow(0, "leak", "outside_0", "a", part)])
    first, second = (load_file(folder / "model.safetensors")["normalization.mean"] for folder in (model, leaky))
    assert np.array_equal(first, second) == (part == "validation")
    losses = [[row["validation_loss"] for row in read_rows(folder / "history.csv")] for folder in (model, leaky)]
    assert losses[0] != losses[1]


def test_normalization_has_the_statistics_of_training_slides_alone(both):
    inside, _, model = both
    trained = [row.slide_id for row in read_folds(inside / "folds.csv", 0) if row.part == "train"]
    means = [read_store(inside / f"features/{name}.zarr").features.astype(float).mean(axis=0) for name in trained]
    assert load_file(model / "model.safetensors")["normalization.mean"] == pytest.approx(
        np.mean(means, axis=0), abs=1e-5
    )


@pytest.mark.parametrize("name", ["ro-abmil", "mean-linear"])
def test_models_of_patients_predict_external_patients_from_all_of_their_slides(tmp_path, name):
    data = add_dataset(tmp_path, "inside", 12, 0)
    rows = [
        replace(row, patient_id=f"p{int(row.slide_id[1:]) // 2}", label="a")
        for row in read_folds(data / "folds.csv", 0)
    ]
    parts = {f"p{k}": part for k, part in enumerate(["train", "train", "validation", "validation", "test", "test"])}
    labels = {name: CLASSES[k % 2] for k, name in enumerate(parts)}
    rows = [replace(row, part=parts[row.patient_id], label=labels[row.patient_id]) for row in rows]
    model = Model(name=name) if name == "mean-linear" else MODEL
    fold, out = data / f"net/{name}/fold_0", tmp_path / f"outside/net/{name}/fold_0"
    job = TrainingJob("inside", 0, rows, data / "features", CLASSES, model, SETTINGS, "patient")
    train_fold(job, fold, progress=False)
    tested = [replace(row, part="test") for row in rows]
    predict_external(fold / "model.safetensors", "outside", tested, data / "features", out, progress=False)
    inside, external = (read_rows(folder / "predictions.csv") for folder in (fold, out))
    assert [list(row)[:3] for row in external] == [["patient_id", "label", "part"]] * 6
    values = {row["patient_id"]: float(row["probability_b"]) for row in external}
    expected = {row["patient_id"]: float(row["probability_b"]) for row in inside}
    assert values == pytest.approx(expected, abs=1e-5)
    assert FoldResult.at(out / "predictions.csv").unit == "patient"


def test_external_slides_are_only_tested_and_by_each_fold(both):
    rows = read_folds(both[1] / "folds.csv")
    assert {row.part for row in rows} == {"test"}
    assert sorted((row.fold, row.slide_id) for row in rows) == [(fold, f"s{k}") for fold in range(3) for k in range(6)]


def test_external_predictions_are_the_models_and_name_it(both):
    _, outside, model = both
    out = outside / "net/ro-abmil/fold_0"
    table, loaded = read_table(out / "predictions.csv"), load_model(model / "model.safetensors")
    for row in table.to_dict("records"):
        slide = read_store(outside / f"features/{row['slide_id']}.zarr")
        assert row["probability_b"] == pytest.approx(loaded.predict(slide.features, slide.grid).probabilities[1])
    result = FoldResult.at(out / "predictions.csv")
    assert (result.is_external, result.dataset, result.trained_on) == (True, "outside", "inside")
    assert result.model_file == model.absolute() / "model.safetensors"
    assert json.loads(result.metadata["features"]) == {f"s{k}": f"s{k}" for k in range(6)}
    assert len(read_rows(out / SHUFFLED_FILE)) == 5 * 6


def test_the_same_files_are_of_a_training_once_the_data_set_is_trained_on(both, tmp_path):
    _, _, model = both
    outside = add_dataset(tmp_path, "inside", 12, 0)
    out = predict(outside, model)
    assert (out / EXTERNAL_FILE).exists()
    train(outside)
    assert not (out / EXTERNAL_FILE).exists() and (out / "history.csv").exists()
    predict(outside, model)
    assert (out / EXTERNAL_FILE).exists() and not (out / "history.csv").exists()


def test_features_of_another_encoder_are_refused(both, tmp_path):
    inside, _, model = both
    other = add_dataset(tmp_path, "outside", 2, 0, trained=inside, width=4)
    with pytest.raises(BagError, match="slide s0 has 4 values per tile, the training slides have 8"):
        predict(other, model)
