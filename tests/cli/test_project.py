"""The verbs that begin a project and run it."""

import shutil

import pytest
from typer.testing import CliRunner

from roformermil.cli import app
from roformermil.errors import ConfigError


def invoke(*arguments, **options):
    return CliRunner().invoke(app, list(map(str, arguments)), **options)


def test_init_writes_the_files_and_says_what_is_left(slide, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "slides").mkdir()
    shutil.copy(slide, tmp_path / "slides/a.tif")
    result = invoke("init", "slides", "--out", "set.yaml")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "set.csv").exists() and (tmp_path / "set.yaml").exists()
    assert "1 slide in " in result.output and "roformermil check set.yaml" in result.output
    with pytest.raises(ConfigError, match="already there: "):
        invoke("init", "slides", "--out", "set", catch_exceptions=False)


def test_init_takes_the_columns_and_the_task_that_it_is_given(slide, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "slides").mkdir()
    shutil.copy(slide, tmp_path / "slides/a.tif")
    (tmp_path / "labels.csv").write_text("slide,OS,OS.time,PFI,PFI.time\na,1,7,0,5\n")
    columns = ["--label-column", "PFI.time", "--label-column", "PFI"]
    result = invoke("init", "slides", "--labels", "labels.csv", "--task", "survival", *columns)
    assert result.exit_code == 0, result.output
    assert "1 slide with a label: 0 with an event" in result.output
    assert ",5,0,a.tif," in (tmp_path / "mine.csv").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--label-column", "a"], "--label-column needs --labels"),
        (["--label-folders", "--labels", "a.csv"], "give either --labels or"),
        (["--patients", "names"], "'names' is not one of"),
        (["--label-folders", "--task", "survival"], "--label-folders gives classes, not what --task survival needs"),
    ],
)
def test_options_that_contradict_each_other_are_refused(tmp_path, options, message):
    result = invoke("init", tmp_path, *options, env={"COLUMNS": "200"})
    assert result.exit_code == 2 and message in result.output


def test_examples_of_the_help_are_on_lines_of_their_own():
    help = invoke("run", "--help", env={"COLUMNS": "200"}).output
    assert "roformermil run mine.yaml tissue" in help and "snakemake --help" in help
