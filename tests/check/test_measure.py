import os

import pytest

from roformermil.check import measure
from roformermil.check.inspection import inspect_slides
from roformermil.check.measure import (
    Speeds,
    describe_load,
    describe_machine,
    measure_encoder,
    measure_reading,
    measure_speeds,
)
from roformermil.cohort.slide_sheet import read_slide_sheet
from roformermil.cohort.slide_table import records_from_sheet
from roformermil.config import Encoder
from tests.check.run import configure


@pytest.fixture
def slides(folder):
    records = records_from_sheet(read_slide_sheet(folder / "sheet.csv", folder))
    return inspect_slides(configure(folder), records, progress=False)


def test_reading_is_measured_on_a_slide_of_each_format_and_a_slide_that_is_gone_is_left_out(slides):
    usable = [slide for slide in slides if slide.record.is_ok]
    speeds = measure_reading(usable, timeout=60)
    assert list(speeds) == ["generic-tiff"] and 1e-5 < speeds["generic-tiff"] < 1
    for slide in usable:
        slide.record.path.unlink()
    assert measure_reading(usable, timeout=60) == {}


@pytest.mark.slow
def test_the_encoder_is_measured_without_its_weights_and_within_seconds(monkeypatch):
    monkeypatch.setattr(measure, "ENCODER_SECONDS", 0.5)
    seconds, values, device = measure_encoder(Encoder(), tile_px=64)  # imagenet's weights are not needed
    assert 0 < seconds < 10 and values == 1024 and device in ("cpu", "cuda")


@pytest.mark.slow
def test_a_step_is_measured_for_each_model_if_models_are_trained(folder, slides, monkeypatch):
    monkeypatch.setattr(measure, "ENCODER_SECONDS", 0.1)
    monkeypatch.setattr(measure, "MOST_STEP_TILES", 4)
    fused = {"name": "ro-abmil", "id": "fused", "hidden_dim": 64, "covariates": True}
    models = ["abmil", {"name": "ro-abmil", "hidden_dim": 64}, "covariates", fused]
    config = configure(folder, models=models, covariates=["age"], tiles={"tile_px": 64})
    speeds = measure_speeds(config, slides, trains=True)
    assert list(speeds.steps) == ["abmil", "ro-abmil", "covariates", "fused"] and speeds.steps["abmil"].seconds > 0
    assert speeds.steps["abmil"].parameters > 10**6 and speeds.steps["abmil"].tiles == 4
    assert measure_speeds(config, slides, trains=False).steps == {}


def test_a_busy_machine_is_named(monkeypatch):
    monkeypatch.setattr(measure, "cpu_cores", lambda: 2)
    assert describe_machine(Speeds(device="cpu")) == "2 CPU cores without a GPU"
    for load, text in ((1.0, ""), (9.0, "Other work keeps this machine busy (load 9): tissue and")):
        monkeypatch.setattr(os, "getloadavg", lambda load=load: (load, 0, 0))
        assert describe_load().strip().startswith(text) and bool(describe_load()) == bool(text)
