"""The state of a fold in training, saved after each epoch so that an interruption costs at most one epoch."""

import logging
from pathlib import Path

import torch

from roformermil.runtime import stage_versions
from roformermil.runtime.files import atomic_path, fingerprint
from roformermil.training.fit import Fit

FILE_NAME = "checkpoint.pt"
log = logging.getLogger(__name__)


class Checkpoint:
    """The saved state of a fit, in the folder of its fold."""

    def __init__(self, fit: Fit, out: Path):
        self.fit, self.path, self.job = fit, out / FILE_NAME, job_fingerprint(fit)

    def save(self) -> None:
        """Write the state, completely or not at all."""
        with atomic_path(self.path) as scratch:
            torch.save({"job": self.job, "fit": self.fit.state()}, scratch)

    def resume(self) -> bool:
        """Whether an interrupted run of the same job left its state, which is then loaded into the fit."""
        if not self.path.exists():
            return False
        try:  # weights_only: a file in a results folder must not run code
            saved = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:  # whatever a damaged file raises, the fold can start again
            log.warning("%s cannot be read (%s): starting from epoch 0", self.path, error)
            return False
        if saved["job"] != self.job:
            log.info("%s: settings, slides, features, threads or device changed: starting from epoch 0", self.path)
            return False
        self.fit.load_state(saved["fit"])
        return True

    def remove(self) -> None:
        """Remove the state of a finished fold."""
        with atomic_path(self.path) as scratch:  # also removes what a process killed while saving left
            scratch.touch()
        self.path.unlink(missing_ok=True)


def job_fingerprint(fit: Fit) -> str:
    """Hash of all that decides the fold's numbers: settings, rows, and every slide's features."""
    job = fit.job
    return fingerprint(
        version=stage_versions.TRAIN,
        torch=torch.__version__,
        device=fit.device.type,
        threads=torch.get_num_threads(),
        dataset=job.dataset,
        classes=job.classes,
        model=job.model.model_dump(mode="json"),
        training=job.training.deciding_values(),
        rows=[[row.fold, row.slide_id, row.label, row.part] for row in job.rows],
        features=list(job.feature_fingerprints().values()),
    )
