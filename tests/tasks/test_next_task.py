"""The next task is one object: a file beside survival and regression, with its name in `TASKS`, is trained, judged and reported."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from sklearn.metrics import d2_tweedie_score

from roformermil import tasks
from roformermil.bags.folds import make_folds, write_folds
from roformermil.bags.leakage import write_findings
from roformermil.cohort.slide_sheet import Slide
from roformermil.cohort.slide_table import SlideRecord, write_slides_csv
from roformermil.config import Folds, Leakage, Model, Training
from roformermil.errors import SheetError
from roformermil.evaluation import summary_text
from roformermil.evaluation.predictions import read_table
from roformermil.evaluation.tables import write_tables
from roformermil.features.store import write_store
from roformermil.report.pages import write_report
from roformermil.report.plots.dataset import plot_dataset
from roformermil.tasks.base import Parameters, Task, Values
from roformermil.tasks.linear import fit_shared_weights
from roformermil.training import TrainingJob, train_fold
from tests.factories import NO_LEAK

SLIDES, TILES, FOLDS = 60, 4, 3


@dataclass(frozen=True)
class Counts(Task):
    """How many mitoses a slide has: Poisson regression."""

    name: ClassVar = "counts"
    metrics: ClassVar = {"d2": "explained deviance"}
    headline: ClassVar = ("d2",)
    reported: ClassVar = ("d2",)
    compared: ClassVar = ("d2",)
    transferred: ClassVar = ("d2",)
    bounds: ClassVar = {"d2": (-np.inf, 1.0)}
    bounds_of_predictions: ClassVar = (0.0, np.inf)
    chance: ClassVar = 0.0
    guess: ClassVar = "the mean count"
    aim: ClassVar = ("predicts the count", "predict the count")
    undefined: ClassVar = "No fold tests slides of different counts."
    plateau: ClassVar = 0.05
    linear_model: ClassVar = "Poisson regression"
    predicts: ClassVar = "a count"
    contribution: ClassVar = "the logarithm of the count"
    plots: ClassVar = ()

    outputs = property(lambda self: ["log_count"])
    columns = property(lambda self: ["count"])

    def check(self, label: str) -> None:
        if not label.isdigit():
            raise SheetError(f"label {label!r}; expected a count")

    def strata(self, labels: Sequence[str]) -> list[str]:
        return ["none" if label == "0" else "some" for label in labels]

    def targets(self, labels: Sequence[str]) -> np.ndarray:
        return np.array([float(label or np.nan) for label in labels])

    def labels(self, targets: np.ndarray) -> list[str]:
        return [f"{target:.0f}" if np.isfinite(target) else "" for target in targets]

    def groups(self, targets: np.ndarray) -> dict[str, np.ndarray]:
        return {"with a count": np.isfinite(targets)}

    def describe(self, labels: Sequence[str], patients: Sequence[str]) -> str:
        return f"{sum(map(int, labels))} mitoses"

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.poisson_nll_loss(logits[:, 0], targets.to(logits.dtype), reduction="none")

    def activation(self, logits: torch.Tensor) -> torch.Tensor:
        return logits.exp()

    def fit_linear(self, features, targets, inverse, class_weights=None) -> Parameters:
        return fit_shared_weights(features, lambda logits: self.loss(logits, torch.from_numpy(targets)), 1, inverse)

    def map_contributions(self, contributions: np.ndarray) -> np.ndarray:
        return contributions

    def weighted_metrics(self, targets: np.ndarray, predictions: np.ndarray, weights: np.ndarray) -> Values:
        predicted = np.broadcast_to(predictions[:, 0], weights.shape)
        mean = np.broadcast_to((weights @ targets / weights.sum(axis=1))[:, None], weights.shape)
        rest, total = ((weights * _deviance(targets, given)).sum(axis=1) for given in (predicted, mean))
        return {"d2": 1 - rest / total}


def _deviance(targets: np.ndarray, means: np.ndarray) -> np.ndarray:
    logs = np.log(np.where(targets > 0, targets, 1) / np.where(targets > 0, means, 1))
    return 2 * (targets * logs - targets + means)


@pytest.fixture
def run(tmp_path, monkeypatch) -> Path:
    """The results of `mean-linear` and `abmil` on slides whose counts follow their first feature."""
    monkeypatch.setitem(tasks.TASKS, "counts", Counts)
    for titles in (tasks.METRIC_TITLES, summary_text.METRIC_TITLES):  # made of the tasks at import
        monkeypatch.setitem(titles, "d2", Counts.metrics["d2"])
    rng, slides = np.random.default_rng(0), []
    grid = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.int32)
    for k in range(SLIDES):
        rate = rng.normal()
        features = (0.1 * rng.normal(size=(TILES, 4)) + np.eye(4)[0] * rate).astype(np.float16)
        write_store(tmp_path / f"stores/s{k}.zarr", features, grid * 256, grid, {})
        slides.append(Slide(f"s{k}", f"p{k}", str(rng.poisson(3 * np.exp(rate))), Path("x.svs"), None))
    rows, data = make_folds(slides, Folds(count=FOLDS), Counts()), tmp_path / "results/d"
    write_folds(data / "folds.csv", rows)
    write_slides_csv(data / "slides.csv", [SlideRecord(slide.slide_id, slide.path, tiles=TILES) for slide in slides])
    write_findings([NO_LEAK], Leakage(), Folds(), "d", data / "leakage.csv")
    training = Training(epochs=8, learning_rate=1e-2, epoch_steps=10)
    for model in (Model(name="mean-linear"), Model(name="abmil", hidden_dim=16, attention_dim=8)):
        for fold in range(FOLDS):
            own = [row for row in rows if row.fold == fold]
            job = TrainingJob("d", fold, own, tmp_path / "stores", Counts(), model, training)
            train_fold(job, data / f"net/{model.id}/fold_{fold}", progress=False)
    predictions = sorted(data.glob("net/*/fold_*/predictions.csv"))
    write_tables(predictions, [data], tmp_path / "results")
    plot_dataset(predictions, data / "plots")
    write_report(tmp_path / "results", [data])
    return tmp_path / "results"


@pytest.mark.slow
def test_another_task_is_trained_judged_and_reported(run):
    summary = read_table(run / "summary.csv").set_index("model")
    for model in ("mean-linear", "abmil"):
        assert set(summary.metric) == {"d2"}
        folds = [read_table(run / f"d/net/{model}/fold_{fold}/predictions.csv") for fold in range(FOLDS)]
        tests = [table[table.part == "test"] for table in folds]
        expected = [d2_tweedie_score(test.label.astype(float), test["count"], power=1) for test in tests]
        assert summary.loc[model, "mean"] == pytest.approx(np.mean(expected)) and summary.loc[model, "mean"] > 0.5
    assert "explained deviance [95% interval]" in (run / "summary.md").read_text()
    assert "explained deviance" in (run / "report.html").read_text() and (run / "d/plots/history.png").exists()
    assert len(read_table(run / "comparisons.csv")) and not len(read_table(run / "calibration.csv"))
