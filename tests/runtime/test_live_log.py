"""Progress and warnings of jobs, shown where Snakemake shows the run."""

import re
import subprocess
import sys

import pytest

from roformermil.runtime import live_log
from roformermil.runtime.live_log import LiveLog

JOB = """
import logging, sys, time
from roformermil.cli import app
from roformermil.runtime import progress
progress.LOG_SECONDS = 0.2
@app.command()
def work():
    for _ in progress.track(range(8), desc="embed", unit="tile"):
        time.sleep(0.1)
    logging.info("for the job's own log")
    logging.warning("mind this")
    logging.warning("s1: unreadable: cut short; copy it again", extra={"brief": "s1: unreadable"})
    logging.error("this too")
app([*sys.argv[1:], "work"], standalone_mode=False)
"""


def run_job(*options):
    """What a job that tracks eight tiles and logs at three levels prints."""
    command, pipe = [sys.executable, "-c", JOB, *map(str, options)], subprocess.PIPE
    return subprocess.run(command, stdout=pipe, stderr=subprocess.STDOUT, text=True, check=True).stdout


def test_jobs_write_progress_and_warnings_to_the_live_log(tmp_path):
    log = tmp_path / "set/net/embed_0.log"
    (tmp_path / "live.log").touch()
    printed = run_job("--log", log, "--live-log", tmp_path / "live.log")
    *progress, last, warning, brief = (tmp_path / "live.log").read_text().splitlines()
    assert warning == "set/net/embed_0: mind this"
    assert brief == "set/net/embed_0: s1: unreadable", "the end of the run says it in full"
    assert progress
    assert all(
        re.fullmatch(r"set/net/embed_0: embed: ([1-7] of 8 tiles, .* left|8 tiles in .*)", line) for line in progress
    )
    assert re.fullmatch(r"set/net/embed_0: embed: 8 tiles in \d\.\d+ s", last)
    assert not printed, "it would break Snakemake's live view"
    expected = ("of 8 tiles", "for the job's own log", "mind this", "this too", "cut short; copy it again")
    assert all(text in log.read_text() for text in expected)


def test_without_a_live_log_a_job_prints_its_progress(tmp_path):
    for options in ([], ["--live-log", tmp_path / "live.log"]):  # without its file, nothing reads it
        printed = run_job("--log", tmp_path / "job.log", *options)
        assert "of 8 tiles" in printed and "mind this" in printed


def test_lines_are_announced_once_and_complete(tmp_path):
    announced = []
    log = LiveLog(tmp_path / "live.log", announced.append)
    for text in ("a: one\na: one\nb: tw", "", "o\n", "b: three\n"):
        log.announce_lines(text)
    assert announced == ["a: one", "b: two", "b: three"]


@pytest.mark.parametrize("seconds", [0.05, 60.0])
def test_new_lines_are_announced_while_the_run_lasts_the_last_ones_at_its_end(tmp_path, monkeypatch, seconds):
    monkeypatch.setattr(live_log, "POLL_SECONDS", seconds)
    path, announced = tmp_path / "live.log", []
    path.write_text("of an earlier run\n")
    log = LiveLog(path, announced.append)
    log.start()
    run_job("--live-log", path)
    assert not announced or seconds < 1
    log.stop()
    assert announced[-2] == "job: mind this" and "of an earlier run" not in announced
    assert not log.is_alive() and log.daemon and not path.exists()
