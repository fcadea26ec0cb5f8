"""Training on shuffled labels: no better than chance on test slides, unless test slides are among the training slides."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from roformermil.bags.folds import make_folds
from roformermil.cohort.slide_sheet import Slide
from roformermil.config import Folds, Model, Training
from roformermil.training import TrainingJob, train_fold

CLASSES = ["a", "b"]
SLIDES = [Slide(f"s{k:02d}", f"p{k:02d}", CLASSES[k % 2], Path("x.svs"), None) for k in range(24)]
TRAINING = Training(learning_rate=1e-3, epochs=6, epoch_steps=30)


@pytest.fixture
def train_and_test(make_stores, tmp_path_factory):
    """train_and_test(order, leak) trains three folds with the slides' labels in this order, first and second class in turn, on
    bags of which those of the second class are shifted; returns the mean AUROC on test slides."""
    shift = {slide.slide_id: 0.3 * (slide.label == "b") for slide in SLIDES}
    stores = make_stores({slide.slide_id: 20 for slide in SLIDES}, dim=64, shift=shift)

    def train(order: Sequence[int], leak: bool = False) -> float:
        labels = {f"s{k:02d}": CLASSES[number % 2] for k, number in enumerate(order)}
        relabelled, areas = [replace(slide, label=labels[slide.slide_id]) for slide in SLIDES], []
        for fold in range(3):
            rows = [row for row in make_folds(relabelled, Folds(count=3), CLASSES) if row.fold == fold]
            if leak:
                rows += [replace(row, part="train") for row in rows if row.part != "train"]
            out, model = tmp_path_factory.mktemp("fold"), Model(name="ro-dsmil", hidden_dim=64)
            train_fold(TrainingJob("made", fold, rows, stores, CLASSES, model, TRAINING), out, progress=False)
            test = pd.read_csv(out / "predictions.csv").query("part == 'test'")
            areas.append(roc_auc_score(test.label == "b", test.probability_b))
        return float(np.mean(areas))

    return train


def shuffled(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).permutation(24)


@pytest.mark.slow
def test_shuffled_labels_give_no_better_than_chance(train_and_test):
    assert 0.25 < np.mean([train_and_test(shuffled(seed)) for seed in range(3)]) < 0.7


@pytest.mark.slow
def test_a_leak_of_test_slides_into_training_is_visible(train_and_test):
    assert train_and_test(range(24)) >= 0.9
    assert train_and_test(shuffled(0), leak=True) >= 0.85
