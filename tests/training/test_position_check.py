"""The position check tells a model that uses position from one that does not: two made tasks, one model, from bags to sentence."""

import re

import numpy as np
import pytest

from roformermil.bags.folds import make_folds
from roformermil.cohort.slide_sheet import Slide
from roformermil.config import Folds, Model, Training
from roformermil.evaluation.fold_results import FoldResult
from roformermil.evaluation.position import position_sentence
from roformermil.evaluation.predictions import out_of_fold
from roformermil.evaluation.summary import fold_metrics, summary_table
from roformermil.features.store import write_store
from roformermil.training import TrainingJob, train_fold

SIDE = 6  # tiles of a slide
MODEL = {"hidden_dim": 16, "attention_dim": 16, "num_heads": 2, "dropout": 0.0}


def write_bag(path, rng, task, label):
    """Two kinds of tiles on a square. `where`: as many of either, in halves or at random places;
    `what`: one class has more of the second kind, at random places."""
    grid = np.stack(np.divmod(np.arange(SIDE**2), SIDE), axis=1)
    x, y = grid.T
    kind = rng.permuted(np.arange(SIDE**2) < (24 if label == "b" else 12)).astype(int)
    if task == "where":
        kind = (x if rng.integers(2) else y) // (SIDE // 2)
        kind = rng.permuted(kind) if label == "b" else kind
    features = rng.normal(0, 0.3, (SIDE**2, 4)) + 2 * np.eye(4)[kind] + 5  # most of their length is common to all
    write_store(path, features, grid * 256, grid, {"slide_id": path.stem})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "name", "sentence"),
    [
        ("where", "ro-abmil", r"Shuffling tile positions lowers AUROC by 0\.\d\d \[0\.\d\d, 0\.\d\d\]"),
        ("what", "ro-abmil", "Shuffling tile positions makes no (measurable )?difference to AUROC"),
        ("where", "abmil", "$"),
    ],
)
def test_shuffling_tells_what_a_model_uses(tmp_path, task, name, sentence):
    rng, slides = np.random.default_rng(0), []
    for k in range(60):
        slides.append(Slide(f"s{k:02d}", f"p{k:02d}", "ab"[k % 2], tmp_path / "x.svs", None))
        write_bag(tmp_path / f"stores/s{k:02d}.zarr", rng, task, "ab"[k % 2])
    rows, results = make_folds(slides, Folds(count=3), "ab"), []
    training = Training(learning_rate=3e-3, epochs=12, epoch_steps=40, precision="fp32")
    for fold in range(3):
        out = tmp_path / f"results/made/encoder/{name}/fold_{fold}"
        of_fold = [row for row in rows if row.fold == fold]
        job = TrainingJob("made", fold, of_fold, tmp_path / "stores", ["a", "b"], Model(name=name, **MODEL), training)
        train_fold(job, out, progress=False)
        results.append(FoldResult.at(out / "predictions.csv"))
    table = summary_table(fold_metrics(results)[0], out_of_fold(results))
    (row,) = table[table.metric == "auroc"].to_dict("records")
    assert row["mean"] > 0.9 if name == "ro-abmil" else row["mean"] < 0.8
    if task == "where" and name == "ro-abmil":
        assert row["shuffled"] < 0.75
    assert re.match(sentence, position_sentence(row))
