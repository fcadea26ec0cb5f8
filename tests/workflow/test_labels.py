"""Training on shuffled labels: no better than chance on test slides, unless test slides are among the training slides."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml

from roformermil.bags.folds import make_folds
from roformermil.cohort.slide_sheet import read_slide_sheet
from roformermil.cohort.synthetic import CLASSES, write_demo_slides
from roformermil.config import Folds, Model, Training, load_config
from roformermil.evaluation.metrics import auroc
from roformermil.training import TrainingJob, train_fold
from tests import ROOT
from tests.workflow.running import COARSE_TILES, snakemake


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    """A folder with the demo's slides, a config.yaml with coarser tiles, and the slides' feature stores."""
    folder = tmp_path_factory.mktemp("labels")
    write_demo_slides(folder / "data/demo")
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text()) | {"tiles": COARSE_TILES}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    result = snakemake(folder, folder / "config.yaml", "features")
    assert result.returncode == 0, result.stderr[-5000:]
    return folder


@pytest.fixture(scope="module")
def train_and_test(encoded, tmp_path_factory):
    """train_and_test(labels, leak) trains three folds of the demo under other labels; returns the mean AUROC on test slides."""
    config = load_config(encoded / "config.yaml")
    slides = read_slide_sheet(encoded / "data/demo/slides.csv", encoded / "data/demo")
    training = Training(**{**config.training.model_dump(), "epochs": 60, "patience": 60, "scheduler_patience": 60})

    def train(labels: dict[str, str], leak: bool = False) -> float:
        relabelled = [replace(slide, label=labels[slide.patient_id]) for slide in slides]
        rows, areas = make_folds(relabelled, Folds(count=3), CLASSES), []
        for fold in range(3):
            here = [row for row in rows if row.fold == fold]
            if leak:
                here += [replace(row, part="train") for row in here if row.part != "train"]
            out = tmp_path_factory.mktemp("fold")
            features, model = encoded / "results/demo/features/resnet50-random", Model(name="ro-dsmil", hidden_dim=64)
            train_fold(TrainingJob("demo", fold, here, features, list(CLASSES), model, training), out, progress=False)
            table = pd.read_csv(out / "predictions.csv")
            test = table[table.part == "test"]
            p = test[[f"probability_{name}" for name in CLASSES]].to_numpy()
            areas.append(auroc(test.label.map(CLASSES.index).to_numpy(), p))
        return float(np.mean(areas))

    return train


PATIENTS = [f"patient_{k:02d}" for k in range(12)]


def shuffled_labels(seed: int) -> dict[str, str]:
    order = np.random.default_rng(seed).permutation(12)
    return {patient: CLASSES[k % 2] for patient, k in zip(PATIENTS, order, strict=True)}


@pytest.mark.slow
def test_shuffled_labels_give_no_better_than_chance(train_and_test):
    assert 0.25 < np.mean([train_and_test(shuffled_labels(seed)) for seed in range(2)]) < 0.7


@pytest.mark.slow
def test_a_leak_of_test_slides_into_training_is_visible(train_and_test):
    assert train_and_test({patient: CLASSES[k % 2] for k, patient in enumerate(PATIENTS)}) >= 0.9
    assert train_and_test(shuffled_labels(0), leak=True) >= 0.85
