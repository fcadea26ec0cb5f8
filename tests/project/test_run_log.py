"""What Snakemake's log records say about a run."""

import logging
import sys

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

from roformermil.project.run_log import Job, Run, RunLog

LOG = "results/logs/mine/segment_0.log"


@pytest.fixture
def logger():
    logger = logging.Logger("snakemake")
    logger.shown = []
    terminal = logging.Handler()
    terminal.emit = lambda record: logger.shown.append(record.getMessage())
    logger.addHandler(terminal)
    return logger


@pytest.fixture
def run_log(logger):
    log = RunLog()
    log.attach(logger)
    return log


def start(logger, number=1, message="Finding tissue: mine, batch 0"):
    values = {
        "jobid": number,
        "rule_msg": message,
        "rule_name": "segment",
        "wildcards": {"dataset": "mine", "batch": 0},
    }
    values |= {"output": ["a.csv"], "log": [LOG], "reason": "Missing output files: a.csv"}
    logger.info("rule", extra={"event": LogEvent.JOB_INFO, **values})


def fail(logger, number=1, ended="returned non-zero exit status 1"):
    text = f"RuleException:\nCalledProcessError: Command 'roformermil --log {LOG} segment' {ended}."
    logger.error(text, extra={"event": LogEvent.ERROR, "exception": "RuleException"})
    values = {"jobid": number, "rule_msg": "Finding tissue: mine, batch 0", "rule_name": "segment"}
    logger.error("Error", extra={"event": LogEvent.JOB_ERROR, **values, "output": ["a.csv"], "log": [LOG]})


def finish(logger, number=1):
    logger.info("Finished", extra={"event": LogEvent.JOB_FINISHED, "job_id": number})


def test_a_failed_job_is_one_line_on_the_terminal_and_whole_in_snakemakes_log_file(logger, tmp_path):
    run_log = RunLog()
    logger.addHandler(logging.FileHandler(tmp_path / "snakemake.log"))
    run_log.attach(logger)
    start(logger)
    fail(logger)
    logger.error("WorkflowError:\nAt least one job did not complete successfully.", extra={"event": LogEvent.ERROR})
    assert logger.shown == ["rule", f"Failed: Finding tissue: mine, batch 0; its log: {LOG}"]
    assert "CalledProcessError" in (tmp_path / "snakemake.log").read_text()
    (job,) = run_log.run.failed.values()
    assert job.ended_by == "returned non-zero exit status 1" and not run_log.run.succeeded


def test_a_job_that_a_retry_finished_did_not_fail(logger, run_log):
    start(logger)
    fail(logger)
    finish(logger)
    assert run_log.run.succeeded and not run_log.run.failed


def test_a_step_lasts_as_long_as_a_job_of_it_runs():
    """Two jobs at once count once, the time between two not at all."""
    times = [
        ("Training: a", 0, 10),
        ("Training: b", 5, 20),
        ("Training: c", 30, 31),
        ("Packaging: a", 2, 3),
        ("", 0, 9),
    ]
    jobs = [Job("rule", message, {}, [], [], "", started=start, finished=end) for message, start, end in times]
    jobs.append(Job("rule", "Training: d", {}, [], [], "", started=40))
    assert Run(jobs=dict(enumerate(jobs))).step_seconds() == {"Training": 21, "Packaging": 1}


def test_an_error_other_than_of_a_job_is_shown_and_the_run_did_not_succeed(logger, run_log):
    logger.error(
        "MissingInputException in rule x", extra={"event": LogEvent.ERROR, "exception": "MissingInputException"}
    )
    assert logger.shown and not run_log.run.succeeded


def test_after_ctrl_c_nothing_is_shown_but_the_closing_text_once(logger, run_log, capsys):
    run_log.closing = lambda run: f"interrupted: {run.interrupted}"
    start(logger)
    logger.shown.clear()
    logger.info("Terminating processes on user request, this might take some time.")
    fail(logger, ended="returned non-zero exit status 130")
    logger.error("WorkflowError: at least one", extra={"event": LogEvent.ERROR})
    run_log.close()
    run_log.close()
    assert not logger.shown and capsys.readouterr().err == "\ninterrupted: True\n"


def test_ctrl_c_before_the_first_job_is_noticed_and_prints_no_traceback(run_log, capsys, monkeypatch):
    monkeypatch.setattr(sys, "excepthook", lambda *_: print("traceback", file=sys.stderr))
    run_log.replace_traceback_of_interrupts()
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert capsys.readouterr().err == "\nStopped by Ctrl-C.\n", "before Snakemake's logger was closed"
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        run_log.close()
        sys.excepthook(*sys.exc_info())
    assert capsys.readouterr().err == "\nStopped by Ctrl-C.\n"
    sys.excepthook(ValueError, ValueError("x"), None)
    assert capsys.readouterr().err == "traceback\n"


def test_a_plan_is_not_followed_by_snakemakes_summary_of_reasons(logger):
    log = RunLog(dry=True)
    log.attach(logger)
    start(logger)
    logger.info("Reasons:\n    output files have to be generated:\n        segment")
    assert len(logger.shown) == 1 and log.run.jobs[1].wildcards == {"dataset": "mine", "batch": "0"}
