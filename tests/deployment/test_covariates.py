"""A model with covariates packaged, and slides predicted with those of a slide sheet."""

import logging

import numpy as np
import pytest

from roformermil.bags.folds import read_folds
from roformermil.bags.split import split_slides
from roformermil.cohort.covariates import read_covariate_table
from roformermil.cohort.slide_sheet import Slide
from roformermil.cohort.slide_table import SlideRecord, write_slides_csv
from roformermil.config import Folds, Leakage, Model, Training
from roformermil.deployment.export import export_model
from roformermil.deployment.model_card import Preparation, read_card
from roformermil.deployment.predict import predict
from roformermil.errors import BagError, ConfigError, ModelError, SheetError
from roformermil.evaluation.consistency import read_results
from roformermil.features.store import read_store
from roformermil.models.inference import load_model
from roformermil.training import TrainingJob, train_fold
from tests.deployment.test_patients import CLASSES, write_slide
from tests.factories import read_rows

FUSED = Model(name="ro-abmil", id="fused", hidden_dim=16, attention_dim=8, num_heads=2, covariates=True)
MODELS = {"fused": FUSED, "covariates": Model(name="covariates")}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A run on 24 slides of 24 patients with covariates, its packages, and three new slides."""
    folder = tmp_path_factory.mktemp("lab")
    data, stores, rng = folder / "set", folder / "set/features/net", np.random.default_rng(0)
    slides = [Slide(f"s{k}", f"p{k}", CLASSES[k % 2], data / f"s{k}.h5", None) for k in range(24)]
    records = [
        SlideRecord(s.slide_id, s.path, tiles=write_slide(stores / f"{s.slide_id}.zarr", k))
        for k, s in enumerate(slides)
    ]
    write_slides_csv(data / "slides.csv", records)
    cells = {
        s.slide_id: {"age": f"{rng.normal(60 + 9 * (k % 2), 6):.0f}" if k else "", "stage": ["I", "II"][k // 2 % 2]}
        for k, s in enumerate(slides)
    }
    split_slides(slides, records, CLASSES, Folds(count=3), Leakage(), data / "folds.csv", covariates=cells)
    for name, model in MODELS.items():
        for fold in range(3):
            rows, settings = read_folds(data / "folds.csv", fold), Training(epochs=1, epoch_steps=2)
            given = (stores, CLASSES, model, settings, "slide", data / "covariates.csv")
            train_fold(TrainingJob("set", fold, rows, *given), data / f"net/{name}/fold_{fold}", progress=False)
        predictions = sorted(data.glob(f"net/{name}/fold_*/predictions.csv"))
        export_model(predictions, data, stores, Preparation(), folder / name)
    for k in (100, 101, 102):
        write_slide(folder / f"new/n{k}.zarr", k)
    return folder


def write_sheet(lab, rows, columns="age,stage"):
    sheet = lab / "new/slides.csv"
    sheet.write_text("\n".join([f"slide_id,path,{columns}", *rows]) + "\n")
    return sheet


@pytest.mark.parametrize("name", MODELS)
def test_covariates_of_a_slide_sheet_are_used_and_what_is_missing_is_told(lab, name, tmp_path, caplog):
    sheet = write_sheet(lab, ["n100,n100.zarr,80,II", "n101,n101.zarr,,IV", "n102,n102.zarr,80,"])
    caplog.set_level(logging.WARNING)
    predict([sheet], lab / name, tmp_path, progress=False)
    rows = {row["slide_id"]: row for row in read_rows(tmp_path / "predictions.csv")}
    members = [load_model(lab / f"set/net/{name}/fold_{k}/model.safetensors") for k in range(3)]
    for slide, cells in (("n100", {"age": "80", "stage": "II"}), ("n101", {"age": "", "stage": "IV"})):
        store = read_store(lab / f"new/{slide}.zarr")
        each = [one.predict(store.features, store.grid, covariates=cells).probabilities[1] for one in members]
        assert float(rows[slide]["probability_b"]) == pytest.approx(np.mean(each), abs=1e-6)
    assert "n101" not in rows["n100"]["warnings"] and "age" not in rows["n100"]["warnings"]
    assert "no age is given: taken as the training mean" in rows["n101"]["warnings"]
    assert "stage 'IV' was not in training: no category counts" in rows["n101"]["warnings"]
    assert "1 slide: no stage is given: no category counts" in caplog.text
    card = (lab / name / "README.md").read_text()
    assert "This model uses covariates" in card and "`stage`, one of I, II" in card and "`age`, a number (6" in card
    assert [one.name for one in read_card(lab / name).covariates] == ["age", "stage"]


def test_slides_without_the_columns_are_refused_with_what_to_do(lab, tmp_path):
    with pytest.raises(
        ConfigError, match=r"uses the covariates age, stage, which 3 slides lack .*: give a slide sheet"
    ):
        predict([lab / "new"], lab / "fused", tmp_path, progress=False)
    sheet = write_sheet(lab, ["n100,n100.zarr,80,II"], "Age,grade")
    with pytest.raises(SheetError, match=r"no column 'age', a covariate: did you mean 'Age'\?\n.*no column 'stage'"):
        predict([sheet], lab / "fused", tmp_path, progress=False)
    sheet = write_sheet(lab, ["n100,n100.zarr,eighty,II"])
    with pytest.raises(BagError, match="n100: age 'eighty'"):
        predict([sheet], lab / "fused", tmp_path, progress=False)


def test_folds_that_had_other_covariates_are_refused(lab, tmp_path):
    predictions, table = sorted(lab.glob("set/net/fused/fold_*/predictions.csv")), lab / "set/covariates.csv"
    assert len(read_results(predictions, [lab / "set"])) == 3
    before, first = table.read_text(), next(iter(read_covariate_table(table).values()))
    assert first == {"age": "", "stage": "I"}
    table.write_text(before.replace("s0,,I", "s0,90,I"))
    try:
        with pytest.raises(ModelError, match="fold 0, 1, 2: covariates.csv has other values"):
            read_results(predictions, [lab / "set"])
    finally:
        table.write_text(before)
