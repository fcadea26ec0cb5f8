"""The state of a fold in training, kept after each epoch so that an interruption costs one epoch at most."""

import logging
from pathlib import Path

import torch

from roformermil.runtime import stage_versions
from roformermil.runtime.files import atomic_path, fingerprint
from roformermil.training.fit import Fit

NAME = "unfinished.pt"

log = logging.getLogger(__name__)


class Checkpoint:
    """The kept state of a fold in its folder."""

    def __init__(self, fit: Fit, out: Path):
        self.fit, self.path, self.job = fit, out / NAME, identity(fit)

    def save(self) -> None:
        """Keep the state, whole or not at all."""
        with atomic_path(self.path) as scratch:
            torch.save({"job": self.job, "fit": self.fit.state()}, scratch)

    def resume(self) -> bool:
        """Put the fit where an interrupted run of the same job stopped; False where there is none."""
        if not self.path.exists():
            return False
        try:  # weights_only: a file in a results folder must not run code
            kept = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:  # whatever a damaged file raises, the fold can start again
            log.warning("%s cannot be read (%s): starting from epoch 0", self.path, error)
            return False
        if kept["job"] != self.job:
            log.info(
                "%s is of another job (settings, slides, features, threads or device changed): starting from epoch 0",
                self.path,
            )
            return False
        self.fit.load_state(kept["fit"])
        return True

    def forget(self) -> None:
        """Remove the state of a fold that is finished."""
        with atomic_path(self.path) as scratch:  # clears also what a kill in the middle of writing left
            scratch.touch()
        self.path.unlink(missing_ok=True)


def identity(fit: Fit) -> str:
    """Hash of all that decides the fold's numbers: settings, rows, and the features of every slide."""
    job = fit.job
    return fingerprint(
        revision=stage_versions.TRAIN,
        torch=torch.__version__,
        device=fit.device.type,
        threads=torch.get_num_threads(),
        dataset=job.dataset,
        classes=job.classes,
        model=job.model.model_dump(mode="json"),
        training=job.training.deciding_values(),
        rows=[[row.fold, row.slide_id, row.label, row.part] for row in job.rows],
        features=list(job.fingerprints().values()),
    )
