import csv

import pytest

from roformermil.bags.folds import make_folds
from roformermil.cohort.slide_sheet import Slide
from roformermil.config import Folds, Model, Training
from roformermil.training import TrainingJob

SLIDES = [Slide(f"s{k:02d}", f"p{k:02d}", "ab"[k % 2], "x.svs", None) for k in range(24)]
MODEL = {"hidden_dim": 32, "attention_dim": 16, "num_heads": 4, "dropout": 0.1}


@pytest.fixture
def job(make_stores):
    """A job on easy bags: those of class b are shifted by one standard deviation. job(name, **training settings)."""
    tiles = {slide.slide_id: 3 + k % 9 for k, slide in enumerate(SLIDES)}
    stores = make_stores(tiles, shift={slide.slide_id: float(slide.label == "b") for slide in SLIDES})
    rows = [row for row in make_folds(SLIDES, Folds(count=4), "ab") if row.fold == 1]

    def make(name="ro-abmil", **training):
        settings = Training(**{"learning_rate": 3e-3, "epochs": 12, "patience": 12} | training)
        return TrainingJob("d", 1, rows, stores, ["a", "b"], Model(name=name, **MODEL), settings)

    return make


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
