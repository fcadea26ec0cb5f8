"""What several tests need and none is about: runs on disk, slides, servers."""

import csv
import functools
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from hashlib import md5
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file
from sklearn import metrics

from roformermil.bags.folds import FoldRow, make_folds, rows_fingerprint, write_folds
from roformermil.bags.leakage import Finding, find_leaks, write_findings
from roformermil.cohort.slide_sheet import Slide
from roformermil.cohort.slide_table import SlideRecord, write_slides_csv
from roformermil.config import Folds, Leakage, Model, Training
from roformermil.config.base import to_json
from roformermil.config.training import run_names, training_of_run
from roformermil.errors import SlideError
from roformermil.evaluation.fold_results import SHUFFLED_FILE, FoldResult, fold_folder
from roformermil.runtime import stage_versions
from roformermil.runtime.files import file_sha256
from roformermil.tasks import Classification, Task, read_task
from roformermil.tasks.classification import PROBABILITY_PREFIX
from roformermil.training import TrainingJob, train_fold

NO_LEAK = Finding("patients", "ok", 0, "no patient is in two parts of a fold")


@dataclass
class SimulatedRun:
    """The files that a run of the workflow leaves, with predictions that are drawn instead of learned:
    `add_dataset`, then `add_model` for each of its models. Every file has the place and format of the workflow's."""

    folder: Path
    predictions: list[Path] = field(default_factory=list)
    datasets: list[Path] = field(default_factory=list)

    def add_dataset(
        self,
        name,
        classes: Sequence[str] = (),
        slides=24,
        folds=3,
        records: Sequence[SlideRecord] = (),
        findings=(NO_LEAK,),
        ids: Sequence[str] = ("s{}", "p{}"),
        labels: Sequence[str] = (),
    ) -> pd.DataFrame:
        """Write slides.csv, folds.csv and leakage.csv; returns the rows of folds.csv. Slide k is of class k modulo their number;
        slides of all classes in turn are tested by fold 0, 1, ... and validate in the fold before. ids: formats of slide and
        patient ids; labels: of each slide, instead of classes."""
        slide_ids, patient_ids = ([form.format(k) for k in range(slides)] for form in ids)
        parts = {0: "test", 1: "validation"}
        count = len(classes) or 1
        turn, labels = np.arange(slides) // count, labels or [classes[k % count] for k in range(slides)]
        rows = [
            FoldRow(fold, slide_ids[k], patient_ids[k], labels[k], parts.get((turn[k] - fold) % folds, "train"))
            for fold in range(folds)
            for k in range(slides)
        ]
        data = self.folder / name
        write_folds(data / "folds.csv", rows)
        records = records or [
            SlideRecord(slide_ids[k], Path(f"{slide_ids[k]}.svs"), tiles=100 + k) for k in range(slides)
        ]
        write_slides_csv(data / "slides.csv", records)
        write_findings(list(findings), Leakage(patients="warn"), Folds(), name, data / "leakage.csv")
        self.datasets.append(data)
        return pd.DataFrame(rows)

    def add_model(
        self,
        dataset,
        folds: pd.DataFrame,
        classes: Sequence[str] | Task,
        model="abmil",
        encoder="net",
        strength=1.0,
        seed=0,
        best_epoch=1,
        seeds=1,
        shuffled_strength: float | None = None,
    ) -> list[Path]:
        """Write predictions.csv, shuffled.csv, history.csv and model.safetensors of every fold and of its `seeds` trainings;
        returns the paths of the predictions. strength: how far scores favour the label, 0: not at all; their noise has a standard
        deviation of 1. classes: or another task, fitted. shuffled_strength: likewise where positions are shuffled; None: the model uses none."""
        rng, paths = np.random.default_rng(seed), []
        task = classes if isinstance(classes, Task) else Classification(tuple(classes))

        def draw(rows: pd.DataFrame, strength: float) -> pd.DataFrame:
            values = draw_predictions(task, rows.label.tolist(), strength, rng)
            return rows.assign(**dict(zip(task.columns, values.T, strict=True)))

        for (fold, rows), number in product(folds.groupby("fold"), range(seeds)):
            folder = fold_folder(fold, 1 + number if number else None)
            path = self.folder / dataset / encoder / model / folder / "predictions.csv"
            write_predictions_csv(path, draw(rows.drop(columns="fold"), strength))
            tested = rows[rows.part == "test"].drop(columns=["fold", "part"])
            repeats = range(0 if shuffled_strength is None else 2)
            shuffled = [draw(tested, shuffled_strength or 0).assign(repeat=repeat) for repeat in repeats]
            write_predictions_csv(path.with_name(SHUFFLED_FILE), pd.concat([tested.assign(repeat=0)[:0], *shuffled]))
            write_training_files(path, best_epoch, **({} if task.classes else {"task": task.to_json()}))
            paths.append(path)
        self.predictions += paths
        return paths


def draw_predictions(task: Task, labels: Sequence[str], strength: float, rng: np.random.Generator) -> np.ndarray:
    """Predictions (n, P) that favour n labels by `strength` standard deviations of their noise."""
    targets = task.targets(labels)
    if task.classes:
        scores = strength * np.eye(len(task.classes))[targets] + rng.normal(size=(len(targets), len(task.classes)))
        return np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    signal = targets if targets.ndim == 1 else -np.log(targets[:, 0])
    center, spread = signal.mean(), signal.std()
    scores = strength * (signal - center) / spread + rng.normal(size=len(targets))
    if targets.ndim == 1:
        return (center + scores * spread * strength / (1 + strength**2))[
            :, None
        ]  # the mean of the label, given the score
    survival = 1 - (1 / (1 + np.exp(-scores)))[:, None] * np.arange(1, 5) / 4
    return np.column_stack([1 - survival.mean(axis=1), survival])


def survival_labels(count: int, seed: int = 0) -> list[str]:
    """As many times from an exponential distribution, of which half are censored."""
    rng = np.random.default_rng(seed)
    pairs = zip(rng.exponential(24, count) + 1, rng.random(count) < 0.5, strict=True)
    return [f"{time:.1f}{'' if event else '+'}" for time, event in pairs]


def train_run(
    data: Path, encoder: str, records: Sequence[SlideRecord], classes: list[str], model: Model, training: Training
) -> list[Path]:
    """Train three folds, with each seed, on the stores of the data set in this folder, and write slides.csv, folds.csv and
    leakage.csv; returns the paths of the predictions. Record k is of patient k and of class k modulo their number."""
    slides = [Slide(r.slide_id, f"p{k}", classes[k % len(classes)], r.path, None) for k, r in enumerate(records)]
    rows = make_folds(slides, Folds(count=3), classes)
    write_slides_csv(data / "slides.csv", records)
    write_folds(data / "folds.csv", rows)
    write_findings(find_leaks(rows, slides, records), Leakage(), Folds(), data.name, data / "leakage.csv")
    for name in run_names(range(3), training):
        out = data / encoder / model.name / f"fold_{name}"
        fold = FoldResult.at(out / "predictions.csv").fold
        here, settings = [row for row in rows if row.fold == fold], training_of_run(name, training)
        job = TrainingJob(data.name, fold, here, data / "features" / encoder, classes, model, settings)
        train_fold(job, out, progress=False)
    return sorted((data / encoder / model.name).glob("*/predictions.csv"))


def class_scores(truth: np.ndarray, decided: np.ndarray, scores: np.ndarray, weights=None) -> dict[str, float]:
    """scikit-learn's metrics of one class against the rest."""
    return {
        "auroc": metrics.roc_auc_score(truth, scores, sample_weight=weights),
        "average_precision": metrics.average_precision_score(truth, scores, sample_weight=weights),
        "recall": metrics.recall_score(truth, decided, sample_weight=weights),
        "precision": metrics.precision_score(truth, decided, sample_weight=weights),
        "f1": metrics.f1_score(truth, decided, sample_weight=weights),
    }


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file as text."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def assert_same_parameters(one: Path, two: Path) -> None:
    """The models in two folders of folds have the same parameters, bit by bit."""
    first, second = (load_file(folder / "model.safetensors") for folder in (one, two))
    assert first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


def assert_same_numbers(one: Path, two: Path) -> None:
    """The files of two folds, except the seconds that each epoch took, are the same."""
    assert (one / "predictions.csv").read_bytes() == (two / "predictions.csv").read_bytes()
    first, second = ([row | {"seconds": ""} for row in read_rows(folder / "history.csv")] for folder in (one, two))
    assert first == second
    assert_same_parameters(one, two)


def write_predictions_csv(path: Path, table: pd.DataFrame) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False)


def write_training_files(predictions: Path, best_epoch: int = 1, **metadata: str) -> None:
    """A history of three epochs and a model file beside a fold's predictions, and shuffled.csv without rows if there is none. The
    model is one number; its metadata are those of a model that made these predictions, but for the ones given."""
    losses = {"epoch": range(3), "train_loss": [1, 0.6, 0.4], "validation_loss": [1, 0.7, 0.8]}
    pd.DataFrame(losses).to_csv(predictions.with_name("history.csv"), index=False)
    result, rows = FoldResult.at(predictions), read_rows(predictions)
    classes = [name.removeprefix(PROBABILITY_PREFIX) for name in rows[0] if name.startswith(PROBABILITY_PREFIX)]
    predicted = read_task(metadata["task"]).columns if "task" in metadata else Classification(tuple(classes)).columns
    columns = ("slide_id", "patient_id", "label", "part")
    if not result.shuffled_file.exists():
        names = ["slide_id", "patient_id", "label", "repeat", *predicted]
        write_predictions_csv(result.shuffled_file, pd.DataFrame(columns=names))
    training = Training() if result.seed is None else Training(seed=result.seed)
    metadata = {
        "model": to_json(Model(name="mean", id=result.model)),
        "training": to_json(training),
        "train_version": str(stage_versions.TRAIN),
        "in_dim": "1",
        "classes": json.dumps(classes),
        "dataset": result.dataset,
        "fold": str(result.fold),
        "seed": str(training.seed),
        "best_epoch": str(best_epoch),
        "parameters": "1234",
        "run": "{}",
        "rows": rows_fingerprint(FoldRow(result.fold, *(row[name] for name in columns)) for row in rows),
        "predictions": file_sha256(predictions),
        "shuffled": file_sha256(result.shuffled_file),
        "features": "{}",
        **metadata,
    }
    save_file({"w": np.zeros(1)}, result.model_file, metadata)


@contextmanager
def raises_slide_error(status: str, match: str | None = None) -> Iterator[None]:
    """Fails unless a SlideError of this status, with this message, is raised."""
    with pytest.raises(SlideError, match=match) as error:
        yield
    assert error.value.status == status


def serve_folder(folder: Path) -> AbstractContextManager[str]:
    """The address at which a web server on this machine serves the folder."""
    return _serve(functools.partial(_FolderHandler, directory=folder))


@dataclass
class SimulatedGdc:
    """The API of the Genomic Data Commons with these files, and what it was asked for. It fails as it is told to."""

    files: dict[str, bytes]
    broken_downloads: int = 0  # so many hang up after 2,000,000 bytes
    failed_listings: int = 0  # so many are answered by 503
    broken_listings: int = 0  # so many hang up
    knows_ranges: bool = True
    wrong_checksums: bool = False
    unknown_file_status: int = 404
    requested_ranges: list[str | None] = field(default_factory=list)  # of every download


def serve_gdc(gdc: SimulatedGdc) -> AbstractContextManager[str]:
    """The address of the API."""
    return _serve(functools.partial(_GdcHandler, gdc))


@contextmanager
def _serve(handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class _FolderHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


class _GdcHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, gdc: SimulatedGdc, *args: object):
        self.gdc = gdc
        super().__init__(*args)

    def do_POST(self) -> None:
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.gdc.failed_listings:
            self.gdc.failed_listings -= 1
            return self._send(503, b"")
        flip = -1 if self.gdc.wrong_checksums else 1
        hits = [
            {"file_id": name, "file_name": name, "file_size": len(data), "md5sum": md5(data[::flip]).hexdigest()}
            for name, data in self.gdc.files.items()
            if name in query["filters"]["content"]["value"]
        ]
        hang_up = self.gdc.broken_listings > 0
        self.gdc.broken_listings -= 1
        self._send(200, json.dumps({"data": {"hits": hits}}).encode(), limit=10 if hang_up else None)

    def do_GET(self) -> None:
        if (data := self.gdc.files.get(Path(self.path).name)) is None:
            return self._send(self.gdc.unknown_file_status, b"")
        requested = self.headers.get("Range")
        self.gdc.requested_ranges.append(requested)
        start = int(requested.removeprefix("bytes=").rstrip("-")) if requested and self.gdc.knows_ranges else 0
        if start >= len(data):
            return self._send(416, b"", {"Content-Range": f"bytes */{len(data)}"})
        hang_up = self.gdc.broken_downloads > 0
        self.gdc.broken_downloads -= 1
        self._send(206 if start else 200, data[start:], limit=2_000_000 if hang_up else None)

    def _send(self, status: int, data: bytes, headers: Mapping[str, str] | None = None, limit: int | None = None):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data[:limit])
        self.close_connection = limit is not None

    def log_message(self, *_: object) -> None:
        pass
