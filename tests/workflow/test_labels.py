"""Training on shuffled labels: no better than chance on test slides, unless test slides are among the training slides."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from roformermil.bags.folds import make_folds
from roformermil.cohort.slide_sheet import read_slide_sheet
from roformermil.cohort.synthetic import CLASSES
from roformermil.config import Folds, Model, load_config
from roformermil.training import TrainingJob, train_fold
from tests.workflow.running import COARSE_TILES, run_workflow, write_demo

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    """A folder with the demo's slides, a config.yaml with coarser tiles, and the slides' feature stores."""
    folder = tmp_path_factory.mktemp("labels")
    write_demo(folder, tiles=COARSE_TILES)
    run_workflow(folder, "features")
    return folder


@pytest.fixture(scope="module")
def train_and_test(encoded, tmp_path_factory):
    """train_and_test(order, leak) trains three folds with the slides' labels in this order, first and second class in turn;
    returns the mean AUROC on test slides."""
    config = load_config(encoded / "config.yaml")
    slides = read_slide_sheet(encoded / "slides/slides.csv", encoded / "slides")
    stores, model = encoded / "results/demo/features/resnet50-random", Model(name="ro-dsmil", hidden_dim=64)

    def train(order: Sequence[int], leak: bool = False) -> float:
        classes = {f"demo_{k:02d}": CLASSES[number % 2] for k, number in enumerate(order)}
        relabelled, areas = [replace(slide, label=classes[slide.slide_id]) for slide in slides], []
        for fold in range(3):
            rows = [row for row in make_folds(relabelled, Folds(count=3), CLASSES) if row.fold == fold]
            if leak:
                rows += [replace(row, part="train") for row in rows if row.part != "train"]
            out = tmp_path_factory.mktemp("fold")
            train_fold(
                TrainingJob("demo", fold, rows, stores, list(CLASSES), model, config.training), out, progress=False
            )
            test = pd.read_csv(out / "predictions.csv").query("part == 'test'")
            areas.append(roc_auc_score(test.label == CLASSES[1], test[f"probability_{CLASSES[1]}"]))
        return float(np.mean(areas))

    return train


def shuffled(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).permutation(24)


def test_shuffled_labels_give_no_better_than_chance(train_and_test):
    assert 0.25 < np.mean([train_and_test(shuffled(seed)) for seed in range(2)]) < 0.7


def test_a_leak_of_test_slides_into_training_is_visible(train_and_test):
    assert train_and_test(range(24)) >= 0.9
    assert train_and_test(shuffled(0), leak=True) >= 0.85
