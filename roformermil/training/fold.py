"""A fold from start to end: its epochs, its files, and resuming after an interruption."""

import json
import logging
from dataclasses import replace
from pathlib import Path

from safetensors.torch import save

from roformermil import __version__
from roformermil.bags.folds import rows_fingerprint
from roformermil.config.base import to_json
from roformermil.evaluation.fold_results import EXTERNAL_FILE, MODEL_FILE, SHUFFLED_FILE, TRIAL_FILE, VALIDATION_FILE
from roformermil.models.build import parameter_count
from roformermil.runtime import stage_versions
from roformermil.runtime.files import atomic_path, file_sha256, remove, write_text
from roformermil.runtime.progress import track
from roformermil.runtime.provenance import run_metadata
from roformermil.runtime.records import write_rows
from roformermil.runtime.termination import end_if_requested, end_is_requested
from roformermil.training.checkpoint import Checkpoint
from roformermil.training.fit import Fit
from roformermil.training.fold_model import FoldModel, TrainingJob
from roformermil.training.prediction_rows import part_predictions, predictions, shuffled_columns, shuffled_predictions
from roformermil.training.tensorboard import TensorBoard

PREDICTIONS = "predictions.csv"
log = logging.getLogger(__name__)


def train_fold(job: TrainingJob, out: Path, progress: bool = True) -> None:
    """Train a fold and write `model.safetensors`, `history.csv`, `predictions.csv` and `shuffled.csv` into `out`.

    The same job gives the same numbers on the same machine with the same number of threads, interrupted or not: the state
    is saved in `out` between epochs, and the same job resumes from there on the same kind of device. Test slides are read
    only for the final predictions. Raises BagError, StoreError or OutOfMemoryError naming the slide that cannot be used.
    """
    fit, checkpoint = _fit_fold(job, out, progress)
    write_rows(out / "history.csv", fit.history)
    write_rows(out / PREDICTIONS, predictions(fit))
    write_rows(out / SHUFFLED_FILE, shuffled_predictions(fit), shuffled_columns(fit))
    remove(out / EXTERNAL_FILE)  # where the data set was external before
    save_model(out, fit)
    checkpoint.remove()


def try_fold(job: TrainingJob, out: Path, progress: bool = True) -> None:
    """Train a fold as `train_fold` does, but without its test slides, to choose among settings.

    Writes `history.csv`, `validation.csv`, the predictions of the validation slides, and `trial.json`, the metadata of the
    model, which is not kept. The test slides are neither read nor predicted.
    """
    job = replace(job, rows=[row for row in job.rows if row.part != "test"])
    fit, checkpoint = _fit_fold(job, out, progress)
    write_rows(out / "history.csv", fit.history)
    write_rows(out / VALIDATION_FILE, part_predictions(fit, "validation"))
    write_text(out / TRIAL_FILE, json.dumps(_metadata(fit, validation=out / VALIDATION_FILE), indent=1) + "\n")
    checkpoint.remove()


def _fit_fold(job: TrainingJob, out: Path, progress: bool) -> tuple[FoldModel, Checkpoint]:
    """The fit with the parameters of its best epoch, and its saved state, which may be removed once the results are written."""
    fit = start_fit(job)
    name = f"{job.model.id} fold {job.fold}"
    log.info("%s: %s", name, fit.summary())
    if (out / "history.csv").exists():
        log.info("%s: the results in %s will be replaced when this run is finished", name, out)
    checkpoint = Checkpoint(fit, out)
    if checkpoint.resume():
        log.info("%s: resuming after epoch %d", name, fit.history[-1]["epoch"])
    board = TensorBoard(out, fit.history) if job.training.tensorboard else None
    for epoch in track(range(len(fit.history), fit.epochs), desc=name, unit="epoch", on=progress):
        if fit.has_converged:
            break
        if end_is_requested():
            checkpoint.save()
            end_if_requested()
        fit.epoch(epoch)
        checkpoint.save_if_due()
        if board:
            board.add(fit.history[-1])
    checkpoint.save()
    end_if_requested()
    log.info("%s: epochs 0 to %d, best %d", name, fit.history[-1]["epoch"], fit.best_epoch)
    fit.model.load_state_dict(fit.best_state)
    return fit, checkpoint


def start_fit(job: TrainingJob) -> FoldModel:
    """The fit of the job's model, before its first epoch."""
    if job.model.is_linear:
        from roformermil.training.linear import LinearFit  # scikit-learn's solvers, which no other model needs

        return LinearFit(job)
    return Fit(job)


def save_model(out: Path, fit: FoldModel) -> None:
    """Write model.safetensors: the parameters, with metadata to build and feed it and to trace where it comes from."""
    metadata = _metadata(fit, predictions=out / PREDICTIONS, shuffled=out / SHUFFLED_FILE)
    state = {name: tensor.contiguous().cpu() for name, tensor in fit.model.state_dict().items()}
    with atomic_path(out / MODEL_FILE) as scratch:
        scratch.write_bytes(save(state, metadata))  # `save_file` would make the file readable to its owner alone


def _metadata(fit: FoldModel, **files: Path) -> dict[str, str]:
    """What a fold was trained with and on, as text, and the digests of these files of its predictions."""
    job = fit.job
    return {
        "model": to_json(job.model),
        "training": to_json(job.training),
        "in_dim": str(fit.model.in_dim),
        "classes": json.dumps(job.classes),
        "task": fit.task.to_json(),
        "dataset": job.dataset,
        "unit": job.unit,
        "fold": str(job.fold),
        "seed": str(job.training.seed),
        "best_epoch": str(fit.best_epoch),
        "parameters": str(parameter_count(fit.model)),
        "version": __version__,
        "train_version": str(stage_versions.TRAIN),
        "run": json.dumps(run_metadata(fit.device)),
        "rows": rows_fingerprint(job.rows),
        **{name: file_sha256(path) for name, path in files.items()},
        "features": json.dumps(job.feature_fingerprints()),
        **({"covariates": to_json(fit.coding)} if job.model.uses_covariates else {}),
        **job.covariate_digests(),
    }
