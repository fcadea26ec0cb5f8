"""What happens in a run of the workflow, from Snakemake's own log records: jobs planned, started, finished and failed."""

import logging
import re
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from snakemake_interface_logger_plugins.common import LogEvent

from roformermil.project.start import STOPPED, hide_traceback_of_interrupts

INTERRUPTED = "Terminating processes on user request"  # so Snakemake's records begin
NOTHING_TO_DO = "Nothing to be done"
JOBS_FAILED = ("Exiting because a job execution failed", "At least one job did not complete successfully")
NOISE = (
    "DAG of jobs will be updated",
    "Updating checkpoint dependencies",
    "Thread did not finish cleanly",
    "Will exit after finishing currently running jobs",  # at a signal, once a second
)
PLAN_NOISE = ("Reasons:", "The run involves checkpoint jobs")  # the plan says it better
ENDED_BY = re.compile(r"(returned non-zero exit status \d+|died with <Signals\.\w+: \d+>)")


@dataclass
class Job:
    """A job that Snakemake planned or started."""

    rule: str
    message: str  # of its rule: `Finding tissue: demo, batch 0`; "" for rules that only list files
    wildcards: dict[str, str]
    outputs: list[str]
    logs: list[Path]
    reason: str  # as Snakemake states it
    is_checkpoint: bool = False  # whether what follows is planned again after it
    started: float = 0.0  # seconds since the epoch
    finished: float | None = None
    ended_by: str = ""  # exit status or signal of a failed job, as Snakemake states it

    @property
    def step(self) -> str:
        """What it does: `Finding tissue`."""
        return self.message.split(":")[0]


@dataclass
class Run:
    """What is known of a run so far."""

    dry: bool = False
    started: float = field(default_factory=time.time)
    seconds: float = 0.0  # that it took
    jobs: dict[int, Job] = field(default_factory=dict)
    failed: dict[int, Job] = field(default_factory=dict)  # without those that a retry finished
    error: bool = False  # whether Snakemake stopped for an error
    interrupted: bool = False  # by Ctrl-C
    nothing_to_do: bool = False
    reasons: dict[str, list[str]] = field(
        default_factory=lambda: defaultdict(list)
    )  # ours to run a job again, by output

    @property
    def succeeded(self) -> bool:
        return not (self.error or self.interrupted or self.failed)

    def step_seconds(self) -> dict[str, float]:
        """By step, the seconds in which at least one of its finished jobs ran."""
        seconds: dict[str, float] = defaultdict(float)
        ends: dict[str, float] = defaultdict(float)
        for job in sorted(self.jobs.values(), key=lambda job: job.started):
            if job.finished and job.step:
                seconds[job.step] += max(0.0, job.finished - max(job.started, ends[job.step]))
                ends[job.step] = max(job.finished, ends[job.step])
        return dict(seconds)


class RunLog(logging.Handler):
    """Follows a run through the records of Snakemake's logger, and writes `closing(run)` once the live view has ended: Snakemake
    closes the handlers of its logger after those of logger plugins.

    What a person needs of a failed or interrupted job is in the closing text. Snakemake's own records of it (shell commands,
    whole logs) are kept from the terminal, not from Snakemake's log file.
    """

    def __init__(self, dry: bool = False):
        super().__init__()
        self.run, self._is_closed = Run(dry), False
        self._logger = logging.getLogger()
        # makes the closing text; this one until the workflow is read
        self.closing: Callable[[Run], str] = lambda run: STOPPED if run.interrupted else ""

    def attach(self, logger: logging.Logger) -> None:
        """Follow the records of a logger, and keep some from its handlers other than files."""
        self._logger = logger
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.addFilter(self.is_shown)
        logger.addHandler(self)

    def replace_traceback_of_interrupts(self) -> None:
        """Have Python print one line for Ctrl-C where it ends Snakemake, instead of a traceback, unless `close` has."""
        hide_traceback_of_interrupts(lambda: self.run.interrupted)

    def is_shown(self, record: logging.LogRecord) -> bool:
        """Whether the terminal shows a record."""
        text, event = record.getMessage(), getattr(record, "event", None)
        if self.run.interrupted or text.startswith(INTERRUPTED):
            return False
        if event == LogEvent.JOB_ERROR or (event == LogEvent.ERROR and ENDED_BY.search(text)):
            return False
        if any(phrase in text for phrase in JOBS_FAILED):
            return False
        return not text.startswith(NOISE + PLAN_NOISE if self.run.dry else NOISE)

    def emit(self, record: logging.LogRecord) -> None:
        text, event, run = record.getMessage(), getattr(record, "event", None), self.run
        if event == LogEvent.JOB_INFO:
            run.jobs[record.jobid] = _job(record)  # type: ignore[attr-defined]
        elif event == LogEvent.JOB_FINISHED and (job := run.jobs.get(record.job_id)):  # type: ignore[attr-defined]
            job.finished = record.created
            run.failed.pop(record.job_id, None)  # type: ignore[attr-defined]
        elif event == LogEvent.JOB_ERROR:
            self._note_failure(record)
        elif event == LogEvent.ERROR:
            if ended := ENDED_BY.search(text):
                for job in run.jobs.values():
                    if any(str(log) in text for log in job.logs):
                        job.ended_by = ended[0]
            else:
                run.error = True
        run.interrupted |= text.startswith(INTERRUPTED)
        run.nothing_to_do |= text.startswith(NOTHING_TO_DO)

    def _note_failure(self, record: Any) -> None:
        job = self.run.jobs.setdefault(record.jobid, _job(record))
        self.run.failed[record.jobid] = job
        if not self.run.interrupted:
            log = f"; its log: {job.logs[0]}" if job.logs else ""
            self._logger.error("Failed: %s%s", job.message or job.rule, log)

    def close(self) -> None:
        """Write the closing text, once."""
        super().close()
        if self._is_closed:
            return
        self._is_closed, self.run.seconds = True, time.time() - self.run.started
        self.run.interrupted |= isinstance(sys.exception(), KeyboardInterrupt)  # before the first job
        if text := self.closing(self.run):
            print(f"\n{text}", file=sys.stderr, flush=True)


def _job(record: Any) -> Job:
    """The job of Snakemake's record of its start or failure."""
    wildcards = {name: str(value) for name, value in dict(getattr(record, "wildcards", None) or {}).items()}
    texts = [getattr(record, name, None) or "" for name in ("rule_msg", "reason")]
    logs = [Path(path) for path in record.log or []]
    is_checkpoint = getattr(record, "is_checkpoint", False)
    return Job(
        record.rule_name, texts[0], wildcards, list(record.output or []), logs, texts[1], is_checkpoint, record.created
    )
