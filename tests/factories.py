"""What several tests need and none is about: runs on disk, slides, servers."""

import functools
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.numpy import save_file

from roformermil.bags.folds import FoldRow, write_folds
from roformermil.bags.leakage import Finding, write_findings
from roformermil.cohort.slide_table import SlideRecord, write_slides_csv
from roformermil.config import Folds, Leakage
from roformermil.evaluation.metrics import PROBABILITY_PREFIX

NO_LEAK = Finding("patients", "ok", 0, "no patient is in two parts of a fold")


@dataclass
class SimulatedRun:
    """The files that a run of the workflow leaves, with predictions that are drawn instead of learned.

    `add_dataset`, then `add_model` for each of its models; every file has the place and format of the workflow's own.
    """

    folder: Path
    predictions: list[Path] = field(default_factory=list)
    datasets: list[Path] = field(default_factory=list)

    def add_dataset(
        self,
        name: str,
        classes: Sequence[str],
        slides: int = 24,
        folds: int = 3,
        records: Sequence[SlideRecord] | None = None,
        findings: Sequence[Finding] = (NO_LEAK,),
    ) -> pd.DataFrame:
        """Write slides.csv, folds.csv and leakage.csv; returns the rows of folds.csv. Slide k is of class k modulo their number;
        slides of all classes in turn are tested by fold 0, 1, ... and validate in the fold before."""
        of_class, turn = np.arange(slides) % len(classes), np.arange(slides) // len(classes)
        rows = [
            FoldRow(fold, f"s{k}", f"p{k}", classes[of_class[k]], _part(turn[k], fold, folds))
            for fold in range(folds)
            for k in range(slides)
        ]
        data = self.folder / name
        write_folds(data / "folds.csv", rows)
        write_slides_csv(
            data / "slides.csv", records or [SlideRecord(f"s{k}", Path(f"s{k}.svs"), tiles=100 + k) for k in range(slides)]
        )
        write_findings(list(findings), Leakage(patients="warn"), Folds(), name, data / "leakage.csv")
        self.datasets.append(data)
        return pd.DataFrame(rows)

    def add_model(
        self,
        dataset: str,
        folds: pd.DataFrame,
        classes: Sequence[str],
        model: str = "abmil",
        encoder: str = "net",
        strength: float = 1.0,
        seed: int = 0,
        best_epoch: int = 1,
    ) -> list[Path]:
        """Write predictions.csv, history.csv and model.safetensors of every fold; returns the paths of the predictions.

        strength: how far scores favour the label, 0: not at all; their noise has a standard deviation of 1.
        """
        rng, paths = np.random.default_rng(seed), []
        for fold, rows in folds.groupby("fold"):
            truth = rows.label.map(list(classes).index).to_numpy()
            scores = strength * np.eye(len(classes))[truth] + rng.normal(size=(len(rows), len(classes)))
            probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
            path = self.folder / dataset / encoder / model / f"fold_{fold}/predictions.csv"
            columns = dict(zip((f"{PROBABILITY_PREFIX}{name}" for name in classes), probabilities.T, strict=True))
            write_predictions_csv(path, rows.drop(columns="fold").assign(**columns))
            write_training_files(path.parent, best_epoch)
            paths.append(path)
        self.predictions += paths
        return paths


def _part(turn: int, fold: int, folds: int) -> str:
    return {0: "test", 1: "validation"}.get((turn - fold) % folds, "train")


def write_predictions_csv(path: Path, table: pd.DataFrame) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False)


def write_training_files(folder: Path, best_epoch: int = 1, metadata: Mapping[str, str] | None = None) -> None:
    """A history of three epochs and a model file with this metadata, without a usable model in it."""
    losses = {"epoch": range(3), "train_loss": [1, 0.6, 0.4], "validation_loss": [1, 0.7, 0.8]}
    pd.DataFrame(losses).to_csv(folder / "history.csv", index=False)
    stated = {"best_epoch": str(best_epoch), "parameters": "1234", **(metadata or {})}
    save_file({"w": np.zeros(1)}, folder / "model.safetensors", stated)


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serve_folder(folder: Path) -> Iterator[str]:
    """The address at which a web server on this machine serves the folder."""
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_QuietHandler, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
