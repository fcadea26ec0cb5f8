"""Progress of jobs, from their logs to where Snakemake shows the run."""

import os
import subprocess
import sys

from roformermil.runtime.live_log import Follower

JOB = """
import logging, sys, time
from roformermil import progress
progress.PAUSE = 0.2
from roformermil.cli import app
import typer
@app.command()
def work():
    for _ in progress.track(range(8), desc="embed", unit="tile"):
        time.sleep(0.1)
    logging.warning("mind this")
app(["--log", sys.argv[1], "work"], standalone_mode=False)
"""


def run(log, **environment):
    """A job as a rule starts it; what it prints."""
    command = [sys.executable, "-c", JOB, str(log)]
    result = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, check=True)
    return result.stdout + result.stderr


def test_what_a_job_logs_is_announced_once(tmp_path):
    old = tmp_path / "set/old.log"
    old.parent.mkdir()
    old.write_text("2026-01-01 00:00:00,000 INFO embed: 1 of 2 tiles, 1.00tile/s, 00:01 left\n")
    said = []
    follower = Follower(tmp_path, said.append)
    printed = run(tmp_path / "set/net/embed_0.log", ROFORMERMIL_FOLLOWED="1")
    follower.look()
    follower.look()
    warning, line = said
    assert warning == "set/net/embed_0: mind this"
    assert line.startswith("set/net/embed_0: ") and "of 8 tiles" in line and line.endswith(" left")
    assert printed == "", "a bar of its own would be drawn over"


def test_a_log_that_is_begun_again_is_read_from_its_start(tmp_path):
    line = "2026-01-01 00:00:00,000 WARNING {}\n"
    (tmp_path / "job.log").write_text(line.format("of an earlier run, and long"))
    said = []
    follower = Follower(tmp_path, said.append)
    (tmp_path / "job.log").write_text(line.format("new"))
    follower.look()
    with open(tmp_path / "job.log", "a") as file:
        file.write("2026-01-01 00:00:00,000 WARN")
    follower.look()
    with open(tmp_path / "job.log", "a") as file:
        file.write("ING late\n")
    follower.look()
    assert said == ["job: new", "job: late"], "no half lines, nothing twice"


def test_by_hand_a_job_says_so_itself(tmp_path):
    assert "of 8 tiles" in run(tmp_path / "job.log")


def test_it_looks_while_the_run_lasts_and_ends_with_it(tmp_path, monkeypatch):
    monkeypatch.setattr("roformermil.following.PAUSE", 0.05)
    said = []
    follower = Follower(tmp_path / "logs", said.append)  # there are none yet
    follower.start()
    (tmp_path / "logs").mkdir()
    run(tmp_path / "logs/job.log", ROFORMERMIL_FOLLOWED="1")
    for _ in range(100):
        if not said:
            follower.ended.wait(0.05)
    follower.ended.set()
    follower.join(timeout=5)
    assert said and not follower.is_alive() and follower.daemon
