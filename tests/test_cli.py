import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from roformermil import __version__
from roformermil.cli import app
from roformermil.status import read_status

VERBS = ("segment", "tile", "embed", "collect", "split", "train", "evaluate", "demo-slides", "check", "schema")


def test_every_verb_explains_itself():
    for verb in VERBS:
        result = CliRunner().invoke(app, [verb, "--help"])
        assert result.exit_code == 0, result.output


def test_the_version_is_an_option():
    assert CliRunner().invoke(app, ["--version"]).output == f"roformermil {__version__}\n"


def test_a_named_error_ends_in_one_line_and_in_the_log(tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "roformermil", "--log", tmp_path / "l.log", "check", tmp_path / "none.yaml"],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert "none.yaml: cannot be read" in result.stderr
    assert "Traceback" not in result.stderr
    assert "none.yaml: cannot be read" in (tmp_path / "l.log").read_text()


def test_starting_up_imports_nothing_heavy():
    code = "import sys, roformermil.cli; print({'torch', 'pandas', 'zarr', 'sklearn', 'cv2'} & set(sys.modules))"
    start = time.perf_counter()
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "set()"
    assert time.perf_counter() - start < 10


@pytest.mark.parametrize(
    ("name", "status"), [("cut.svs", "unreadable"), ("empty.svs", "empty_file"), ("text.svs", "unreadable"),
                         ("blank.tif", "empty")],
)  # fmt: skip
def test_segment_turns_a_bad_slide_into_a_row(broken, slide, tmp_path, name, status):
    sheet = broken / f"{name}.csv"
    (broken / "good.tif").write_bytes(slide.read_bytes())
    sheet.write_text(f"slide_id,patient_id,label,path\nbad,p1,x,{name}\ngood,p2,y,good.tif\n")
    arguments = ["segment", "--sheet", sheet, "--out", tmp_path, "--status", tmp_path / "status.csv"]
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    bad, good = read_status(tmp_path / "status.csv")
    assert (bad.status, bad.stage) == (status, "segment")
    assert bad.reason
    assert good.status == "ok"
