"""The state of a fold in training, saved between epochs so that an interruption costs little."""

import logging
import time
from pathlib import Path

import torch

from roformermil.runtime import stage_versions
from roformermil.runtime.files import atomic_path, fingerprint
from roformermil.runtime.provenance import device_name
from roformermil.training.fold_model import FoldModel

FILE_NAME = "checkpoint.pt"
SAVING_SHARE = 0.05  # of the time that training takes, at most: epochs on tiny bags take hardly longer than saving
log = logging.getLogger(__name__)


class Checkpoint:
    """The saved state of a fit, in the folder of its fold."""

    def __init__(self, fit: FoldModel, out: Path):
        self.fit, self.path, self.job = fit, out / FILE_NAME, job_fingerprint(fit)
        self.device = device_name(fit.device)
        self._saved_epochs, self._saved_at, self._seconds = 0, time.perf_counter(), 0.0

    def save_if_due(self) -> None:
        """Save the state after an epoch that ends long enough after the last time, given what saving took."""
        if self._seconds <= SAVING_SHARE * (time.perf_counter() - self._saved_at):
            self.save()

    def save(self) -> None:
        """Write the state, completely or not at all, if an epoch has ended since the last time."""
        if self._saved_epochs == len(self.fit.history):
            return
        start = time.perf_counter()
        with atomic_path(self.path) as scratch:
            torch.save({"job": self.job, "device": self.device, "fit": self.fit.state()}, scratch)
        self._saved_epochs, self._saved_at = len(self.fit.history), time.perf_counter()
        self._seconds = self._saved_at - start

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
            log.info("%s: settings, slides, features or threads changed: starting from epoch 0", self.path)
            return False
        if saved["device"] != self.device:  # the numbers would be those of neither
            problem = f"was saved on {saved['device']}, this is {self.device}"
            log.warning("%s: %s, which computes other numbers: starting from epoch 0", self.path, problem)
            return False
        self.fit.load_state(saved["fit"])
        self._saved_epochs = len(self.fit.history)
        return True

    def remove(self) -> None:
        """Remove the state of a finished fold."""
        self.path.unlink(missing_ok=True)


def job_fingerprint(fit: FoldModel) -> str:
    """Hash of all that decides the fold's numbers but the device: settings, rows, and every slide's features."""
    job = fit.job
    return fingerprint(
        version=stage_versions.TRAIN,
        torch=torch.__version__,
        threads=torch.get_num_threads(),
        dataset=job.dataset,
        classes=job.classes,
        **({} if job.classes else {"task": fit.task.name}),
        unit=job.unit,
        model=job.model.model_dump(mode="json"),
        training=job.training.deciding_values(),
        rows=[[row.fold, row.slide_id, row.label, row.part] for row in job.rows],
        features=list(job.feature_fingerprints().values()),
        **job.covariate_digests(),
    )
