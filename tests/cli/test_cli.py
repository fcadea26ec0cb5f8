import json
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from typer.testing import CliRunner

from roformermil import __version__
from roformermil.cli import app
from roformermil.cohort.slide_table import read_slide_table
from roformermil.cohort.synthetic import write_pyramid

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
    bad, good = read_slide_table(tmp_path / "status.csv")
    assert (bad.status, bad.stage) == (status, "segment")
    assert bad.message
    assert good.status == "ok"


@pytest.fixture
def data_set(tmp_path):
    """A configuration of six small slides and a broken one, as many as its limit allows; check() runs the verb on it."""
    rows = ["slide_id,patient_id,label,path"]
    for k in range(6):
        pixels = np.random.default_rng(k).integers(0, 255, (200, 200, 3), np.uint8)
        write_pyramid(tmp_path / f"s{k}.tif", pixels)
        rows.append(f"s{k},p{k},{'ab'[k % 2]},s{k}.tif")
    (tmp_path / "s6.tif").write_text("no slide")
    (tmp_path / "sheet.csv").write_text("\n".join([*rows, "s6,p6,a,s6.tif"]) + "\n")
    config = {"slides": str(tmp_path / "sheet.csv"), "root": str(tmp_path), "classes": ["a", "b"]}
    settings = {"datasets": {"set": config}, "folds": {"count": 3}, "encoder": {"weights": "random"}}

    def check(**changes):
        (tmp_path / "config.yaml").write_text(json.dumps(settings | {"max_failed_fraction": 1 / 7} | changes))
        command = [sys.executable, "-m", "roformermil", "check", str(tmp_path / "config.yaml")]
        result = subprocess.run(command, capture_output=True, text=True)
        return result.returncode, result.stderr

    return tmp_path, check


def test_check_finds_no_fault_at_the_limit_and_one_beyond_it(data_set):
    _, check = data_set
    code, said = check()
    assert code == 0 and "set: 6 of 7 slides, 1 missing (1 unreadable); 6 patients in use" in said
    assert "no fault found" in said
    code, said = check(max_failed_fraction=0.1)
    assert code == 1 and "set: 14% of its slides are lost, max_failed_fraction allows 10%" in said


def test_check_finds_a_leak_before_hours_go_into_it(data_set):
    folder, check = data_set
    shutil.copy(folder / "s0.tif", folder / "s3.tif")
    code, said = check()
    assert code == 1 and "its folds leak" in said and "s0 = s3" in said
    assert check(audit={"duplicates": "warn"})[0] == 0
