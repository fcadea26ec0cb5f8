import inspect
import os
import subprocess
import sys
import time

import pytest
import typer
from typer.testing import CliRunner

from roformermil import __version__
from roformermil.cli import app, options
from roformermil.cohort.slide_table import read_slide_table
from roformermil.runtime.locks import exclusive
from tests.terminating import terminate_while_waiting

VERBS = """
ablation check choose clean collect contact-sheet demo-slides download embed evaluate export external gallery heatmap
import init list-slides measure overhead package pages plots predict reference run schema search segment shift split
tile trace train version view weights
"""
COMMANDS = typer.main.get_command(app).commands


def test_the_command_line_has_these_verbs():
    assert sorted(COMMANDS) == VERBS.split()


@pytest.mark.parametrize("verb", VERBS.split())
def test_every_verb_and_option_is_described_in_its_help(verb):
    help = CliRunner().invoke(app, [verb, "--help"], env={"COLUMNS": "500"})
    assert help.exit_code == 0 and inspect.cleandoc(COMMANDS[verb].help).splitlines()[0] in help.output
    assert not [parameter.name for parameter in COMMANDS[verb].params if not parameter.help]


def test_the_version_is_a_verb_and_an_option():
    assert CliRunner().invoke(app, ["--version"]).output == f"roformermil {__version__}\n"
    assert CliRunner().invoke(app, ["version"]).output == f"{__version__}\n"


def test_a_named_error_is_one_line_on_the_screen_and_in_the_log(tmp_path):
    result = run("--log", tmp_path / "l.log", "check", tmp_path / "none.yaml")
    assert result.returncode == 1
    assert "none.yaml: cannot be read" in result.stderr and "Traceback" not in result.stderr
    assert "none.yaml: cannot be read" in (tmp_path / "l.log").read_text()


def test_a_bug_has_its_traceback_and_an_exit_status_of_its_own(tmp_path):
    (tmp_path / "table.csv").write_text("no slide table\n")
    result = run("collect", tmp_path / "table.csv", "--out", tmp_path / "slides.csv")
    assert result.returncode == 2 and "unexpected error\nTraceback" in result.stderr


def test_a_second_job_on_a_table_waits_for_the_first(slides, tmp_path):
    command = [sys.executable, "-m", "roformermil", *map(str, segment(slides, "text.svs", tmp_path))]
    with exclusive(tmp_path / "table.csv"):
        job = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert any("table.csv: another run is writing here" in line for line in job.stderr)
        assert not (tmp_path / "table.csv").exists()
    assert job.wait() == 0 and (tmp_path / "table.csv").exists()


def test_sigterm_ends_a_job_that_waits_for_another(slides, tmp_path):
    command = [sys.executable, "-m", "roformermil", *map(str, segment(slides, "text.svs", tmp_path))]
    with exclusive(tmp_path / "table.csv"):
        terminate_while_waiting(command)


def test_a_job_on_a_machine_with_several_gpus_claims_one(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-of-this-test-a,GPU-of-this-test-b")
    options.use_machine(0)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-of-this-test-a"


def test_starting_up_imports_nothing_heavy():
    code = (
        "import sys, roformermil.cli; print({'torch', 'numpy', 'pandas', 'zarr', 'sklearn', 'cv2'} & set(sys.modules))"
    )
    start = time.perf_counter()
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "set()"
    assert time.perf_counter() - start < 10


def run(*arguments):
    command = [sys.executable, "-m", "roformermil", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def segment(folder, name, out):
    """The arguments that segment a bad slide of this file name, and good.tif."""
    (out / "slides.csv").write_text(f"slide_id,path\nbad,{folder / name}\ngood,{folder / 'good.tif'}\n")
    return ["segment", out / "slides.csv", "--out", out, "--table", out / "table.csv"]


@pytest.fixture
def slides(broken, slide):
    """The folder of broken slides, with a good one in it."""
    (broken / "good.tif").write_bytes(slide.read_bytes())
    return broken


@pytest.mark.parametrize(
    ("name", "status"),
    [("cut.svs", "unreadable"), ("empty.svs", "empty_file"), ("text.svs", "unreadable"), ("blank.tif", "empty")],
)
def test_segment_records_a_bad_slide_and_continues(slides, tmp_path, name, status):
    result = CliRunner().invoke(app, list(map(str, segment(slides, name, tmp_path))))
    assert result.exit_code == 0, result.output
    bad, good = read_slide_table(tmp_path / "table.csv")
    assert (bad.status, bad.stage) == (status, "segment") and bad.message
    assert good.status == "ok"


def test_live_log_collects_warnings_after_the_jobs_name_and_the_screen_stays_free(slides, tmp_path):
    options = ["--log", tmp_path / "logs/demo/segment_0.log", "--live-log", tmp_path / "logs/live.log"]
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/live.log").touch()
    result = run(*options, *segment(slides, "text.svs", tmp_path))
    assert result.returncode == 0 and result.stderr == ""
    (line,) = (tmp_path / "logs/live.log").read_text().splitlines()
    assert line == "demo/segment_0: bad: unreadable"
    assert "bad: unreadable: " in (tmp_path / "logs/demo/segment_0.log").read_text()
    failed = run(*options, "check", tmp_path / "none.yaml")
    assert failed.returncode == 1 and failed.stderr == "", "the end of the run tells what failed, from the job's log"
    assert "none.yaml: cannot be read" in (tmp_path / "logs/demo/segment_0.log").read_text()
