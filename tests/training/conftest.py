from pathlib import Path

import pytest

from roformermil.bags.folds import make_folds
from roformermil.cohort.slide_sheet import Slide
from roformermil.config import Folds, Model, Training
from roformermil.training import TrainingJob


@pytest.fixture
def job(make_stores):
    """job(name, **training settings): a small job on easy bags, those of class b shifted by one standard deviation."""
    slides = [Slide(f"s{k:02d}", f"p{k:02d}", "ab"[k % 2], Path("x.svs"), None) for k in range(24)]
    tiles = {slide.slide_id: 3 + k % 9 for k, slide in enumerate(slides)}
    stores = make_stores(tiles, shift={slide.slide_id: float(slide.label == "b") for slide in slides})
    rows = [row for row in make_folds(slides, Folds(count=4), "ab") if row.fold == 1]

    def make(name="ro-abmil", dropout=0.1, **training):
        defaults = {"learning_rate": 3e-3, "epochs": 12, "patience": 12, "epoch_steps": 1}
        settings = Training(**defaults | training)
        model = Model(name=name, hidden_dim=32, attention_dim=16, num_heads=4, dropout=dropout)
        return TrainingJob("d", 1, rows, stores, ["a", "b"], model, settings)

    return make
