"""What a run of the workflow leaves on the terminal: its plan, its closing text, and one line after Ctrl-C."""

import os
import signal
import subprocess
import time

import pytest

from tests.workflow.running import COARSE_TILES, environment, snakemake, snakemake_command, write_demo

pytestmark = pytest.mark.slow
LOST = "cut: unreadable"


@pytest.fixture(scope="module")
def demo(tmp_path_factory, broken):
    """A folder with four slides, one that is cut short, and config.yaml, which allows no slide to be lost."""
    folder = tmp_path_factory.mktemp("demo")
    write_demo(folder, 4, [broken / "cut.svs"], tiles=COARSE_TILES, slides_per_batch=3, max_failed_fraction=0.0)
    return folder


def printed(demo, *arguments) -> str:
    result = snakemake(demo, demo / "config.yaml", *arguments)
    return result.stdout + result.stderr


def test_a_dry_run_names_data_sets_and_batches_and_why(demo):
    plan = printed(demo, "tissue", "-n").split("To do: ")[1].splitlines()
    assert plan[0] == "8 jobs"
    assert [" ".join(line.split()) for line in plan[3:8]] == [
        "all Preparing lists of slides 1 not done yet",
        "demo Listing slides 2 batches 0, 1 not done yet",
        "demo Finding tissue 2 batches 0, 1 not done yet",
        "demo Laying out tiles 2 batches 0, 1 not done yet",
        "demo Drawing the contact sheet 1 not done yet",
    ]


def test_without_the_command_on_path_no_job_starts(demo):
    command = snakemake_command(demo, demo / "config.yaml", "tissue")
    here = {**environment(), "PATH": os.defpath}
    result = subprocess.run(command, cwd=demo, env=here, capture_output=True, text=True)
    assert result.returncode == 1 and "not on PATH, since this environment is not activated" in result.stderr
    assert not (demo / "results/logs/demo").exists(), "no job started"


def test_ctrl_c_ends_with_one_line(demo):
    command = snakemake_command(demo, demo / "config.yaml", "tissue")
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    run = subprocess.Popen(command, cwd=demo, env=environment(), start_new_session=True, **streams)
    while not (demo / "results/logs/live.log").exists() and run.poll() is None:
        time.sleep(0.1)
    time.sleep(1.0)
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does, to jobs as well
    text, _ = run.communicate()
    after = text.split("Job stats")[1].split(" total ")[1].splitlines()[1:]
    assert [line for line in after if line.strip()][-1].startswith("Stopped by Ctrl-C after"), text
    assert "Traceback" not in text and "CalledProcessError" not in text and "WorkflowError" not in text, text


def test_a_run_ends_with_its_lost_slides_and_where_to_look(demo):
    text = printed(demo, "tissue")
    closing = text.split("Complete Log")[1]  # with which Snakemake ends
    assert "demo: 4 of 5 slides, 1 lost (1 unreadable)" in closing
    assert closing.count(LOST) == 1 and text.count("copy it again") == 1, "the cause and remedy once"
    assert "Finished after" in closing and f"{demo / 'results/demo/tissue.html'}  the tissue found" in closing
    assert "Nothing to do" in printed(demo, "tissue")


def test_a_failed_run_ends_with_the_cause_and_the_lost_slides_once(demo):
    text = printed(demo, "features")
    closing = text.split("Complete Log")[1]
    assert "Failed: Counting slides with tiles: demo\n" in closing and "max_failed_fraction allows 0%" in closing
    assert text.count("copy it again") == 1 and "CalledProcessError" not in text
    assert "Not finished" in closing and f"{demo / 'results/logs/demo/check_slides.log'}" in closing
