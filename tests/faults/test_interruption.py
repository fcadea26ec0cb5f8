"""What ends a run from outside: kill -9, a full disk, a folder that is not ours, another run on the same results."""

import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter

import numpy as np
import pytest

from tests.faults.conftest import content, marked, run, verbs, write_sheet

KILLS = 20


def copies(slide, folder, count):
    """A sheet of `count` copies of a slide."""
    paths = [folder / f"copy_{k}.tif" for k in range(count)]
    for path in paths:
        shutil.copy(slide, path)
    return write_sheet(folder / "slides.csv", paths)


def killed_at_random(sheet, out, kills, seed, longest):
    """Run the verbs again and again, killing them at seeded moments; returns how often a kill met which verb.

    The moments are within `longest` seconds, a part of what an undisturbed round takes on the machine as it is, so that most of
    them meet the verb that takes longest, `embed`.
    """
    rng = np.random.default_rng(seed)
    met: Counter[str] = Counter()
    token = f"ROFORMERMIL_TEST={tempfile.mktemp(dir='')}"
    for _ in range(kills):
        deadline = time.monotonic() + rng.uniform(0.5, longest)
        for command in verbs(sheet, out):
            process = subprocess.Popen(
                command, env=os.environ | dict([token.split("=")]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            try:
                assert process.wait(max(0, deadline - time.monotonic())) == 0
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)  # the verb alone: what it started must end by itself
                process.wait()
                met[command[3]] += 1
                break
        waited = time.monotonic() + 20
        while (left := marked(token)) and time.monotonic() < waited:
            time.sleep(0.1)
        assert not left, "a process outlived the verb that started it"
    return met


@pytest.mark.shared
def test_stores_after_20_kills_are_those_of_an_undisturbed_run(atlas, tmp_path):
    sheet = write_sheet(tmp_path / "slides.csv", atlas)
    start = time.monotonic()
    calm = run(sheet, tmp_path / "calm")
    met = killed_at_random(sheet, tmp_path / "killed", KILLS, seed=0, longest=0.4 * (time.monotonic() - start))
    assert met.total() >= KILLS // 2 and met["embed"] >= KILLS // 4, met
    assert any((tmp_path / "killed/features").glob("*.zarr")), "no kill came after a store was finished"
    rows = run(sheet, tmp_path / "killed")
    assert [(row.slide_id, row.status, row.fingerprint) for row in rows] == [
        (row.slide_id, row.status, row.fingerprint) for row in calm
    ]
    assert content(tmp_path / "killed/features") == content(tmp_path / "calm/features")


@pytest.mark.slow
def test_stores_after_a_few_kills_are_those_of_an_undisturbed_run(slide, tmp_path):
    sheet = copies(slide, tmp_path, 4)
    start = time.monotonic()
    run(sheet, tmp_path / "calm")
    met = killed_at_random(sheet, tmp_path / "killed", 3, seed=1, longest=time.monotonic() - start)
    assert met["embed"] >= 1, met
    run(sheet, tmp_path / "killed")
    assert content(tmp_path / "killed/features") == content(tmp_path / "calm/features")


@pytest.mark.parametrize(("verb", "room"), [(0, 1000), pytest.param(2, 20_000, marks=pytest.mark.slow)])
def test_a_full_disk_is_named_and_leaves_nothing_half_written(slide, tmp_path, verb, room):
    """The limit on a file's size is the kernel's: a write beyond it fails as on a full disk."""
    commands = verbs(copies(slide, tmp_path, 2), tmp_path / "out")
    for command in commands[:verb]:
        subprocess.run(command, check=True, capture_output=True)
    before = content(tmp_path / "out")
    result = subprocess.run(
        commands[verb], capture_output=True, text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)),
    )  # fmt: skip
    assert result.returncode == 1
    assert "cannot be written: File too large" in result.stderr
    assert "Traceback" not in result.stderr
    assert content(tmp_path / "out") == before
    subprocess.run(commands[verb], check=True, capture_output=True)  # with room again it goes on


def test_a_folder_that_is_not_ours_is_named(slide, tmp_path):
    out = tmp_path / "out"
    out.mkdir(mode=0o555)
    command = verbs(copies(slide, tmp_path, 1), out)[0]
    if os.getuid() == 0:  # root may write anywhere, unless it gives that up
        command = ["setpriv", "--inh-caps=-dac_override", "--bounding-set=-dac_override", *command]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1, result.stderr
    assert "cannot be written: Permission denied" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_two_runs_on_the_same_results_do_not_disturb_each_other(slide, tmp_path):
    sheet = copies(slide, tmp_path, 3)
    run(sheet, tmp_path / "alone")
    for command in verbs(sheet, tmp_path / "both"):
        pair = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
        for process in pair:
            _, stderr = process.communicate()
            assert process.returncode == 0, stderr[-3000:]
    assert content(tmp_path / "both/features") == content(tmp_path / "alone/features")
