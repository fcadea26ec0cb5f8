"""A fold from start to end: its epochs, its files, and going on after an interruption."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import save

from roformermil import __version__
from roformermil.bags.folds import PARTS, rows_fingerprint
from roformermil.config.base import to_json
from roformermil.errors import ConfigError
from roformermil.models.build import parameter_count
from roformermil.runtime.files import atomic_path, file_sha256
from roformermil.runtime.progress import track
from roformermil.runtime.provenance import run_metadata
from roformermil.runtime.records import write_rows
from roformermil.training.checkpoint import Checkpoint
from roformermil.training.fit import Fit, TrainingJob

PREDICTIONS = "predictions.csv"

log = logging.getLogger(__name__)


def train_fold(job: TrainingJob, out: Path, progress: bool = True) -> None:
    """Train and write `model.safetensors`, `history.csv` and `predictions.csv` into `out`.

    The same job gives the same numbers on the same machine with the same number of threads, interrupted or not: after
    each epoch the state is kept in `out`, and the same job goes on from there. Test slides are read only for the final
    predictions. Raises BagError, StoreError or OutOfMemoryError naming the slide that cannot be used.
    """
    fit = Fit(job)
    name = f"{job.model.id} fold {job.fold}"
    log.info("%s: %s", name, fit.summary())
    if (out / PREDICTIONS).exists():
        log.info("%s: %s has a finished fold, which is replaced when this one ends", name, out)
    unfinished = Checkpoint(fit, out)
    if unfinished.resume():
        log.info("%s: going on after epoch %d", name, fit.history[-1]["epoch"])
    board = open_board(out, fit.history) if job.training.tensorboard else None
    epochs = range(len(fit.history), job.training.epochs)
    for epoch in track(epochs, desc=name, unit="epoch", on=progress):
        if epoch - fit.best_epoch > job.training.patience:
            break
        fit.epoch(epoch)
        unfinished.save()
        if board:
            write_board(board, fit.history[-1])
    log.info("%s: epochs 0 to %d, best %d", name, fit.history[-1]["epoch"], fit.best_epoch)
    fit.model.load_state_dict(fit.best_state)
    write_rows(out / "history.csv", fit.history)
    write_rows(out / PREDICTIONS, [row for part in PARTS for row in fit.predictions(part)])
    save_model(out / "model.safetensors", fit, file_sha256(out / PREDICTIONS))
    unfinished.forget()


def open_board(out: Path, history: list[dict[str, Any]]) -> Any:
    """A TensorBoard writer of the fold, what an interrupted run had already in it."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError("training.tensorboard: TensorBoard is not installed here: pip install tensorboard") from error
    shutil.rmtree(out / "tensorboard", ignore_errors=True)  # of another run
    board = SummaryWriter(out / "tensorboard")
    for row in history:
        write_board(board, row)
    return board


def write_board(board: Any, row: dict[str, Any]) -> None:
    for name, value in row.items():
        if name != "epoch":
            board.add_scalar(name, value, row["epoch"])
    board.flush()


def save_model(path: Path, fit: Fit, predictions: str) -> None:
    """Write the model's parameters as safetensors; as metadata all it takes to build and feed it, and what it came from.

    predictions: sha256 of its predictions.csv.
    """
    job = fit.job
    metadata = {
        "model": to_json(job.model),
        "training": to_json(job.training),
        "in_dim": str(fit.model.in_dim),
        "classes": json.dumps(job.classes),
        "dataset": job.dataset,
        "fold": str(job.fold),
        "best_epoch": str(fit.best_epoch),
        "parameters": str(parameter_count(fit.model)),
        "version": __version__,
        "run": json.dumps(run_metadata(fit.device)),
        "rows": rows_fingerprint(job.rows),
        "predictions": predictions,
        "features": json.dumps(job.fingerprints()),
    }
    state = {name: tensor.contiguous().cpu() for name, tensor in fit.model.state_dict().items()}
    with atomic_path(path) as scratch:
        scratch.write_bytes(save(state, metadata))  # `save_file` would make it readable to its owner alone
