"""Interruptions from outside: kill -9, a full disk, a read-only folder, another run on the same results."""

import os
import resource
import shutil
import signal
import subprocess
import time
from collections import Counter
from dataclasses import replace
from functools import partial
from uuid import uuid4

import numpy as np
import pytest

from tests.faults.running import commands, processes_with, read_files, run, write_table

KILLS = 20


def write_copies(slide, folder, count):
    """Copy a slide `count` times; returns a slide sheet of the copies."""
    paths = [folder / f"copy_{k}.tif" for k in range(count)]
    for path in paths:
        shutil.copy(slide, path)
    return write_table(folder / "slides.csv", paths)


def run_with_kills(sheet, out, kills, seed, longest):
    """Run the verbs `kills` times, each time killing them at a random moment; returns how often each verb was killed.
    The moments are within `longest` seconds, a part of what an undisturbed run takes on this machine, so that most of
    them are during the verb that takes longest, `embed`."""
    rng, token, killed = np.random.default_rng(seed), str(uuid4()), Counter()
    environment = os.environ | {"ROFORMERMIL_TEST": token}
    for _ in range(kills):
        deadline = time.monotonic() + rng.uniform(0.5, longest)
        for command in commands(sheet, out):
            process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                assert process.wait(max(0, deadline - time.monotonic())) == 0
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)  # only the verb: its subprocesses must end by themselves
                process.wait()
                killed[command[3]] += 1
                break
        deadline = time.monotonic() + 20
        while (left := processes_with(token)) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not left, "a process outlived the verb that started it"
    return killed


def check_stores_after_kills(sheet, folder, kills, seed, fraction):
    """Compare results after kills, within this fraction of an undisturbed run's time, with that run's; returns the
    kills by verb and the number of stores that they left."""
    start = time.monotonic()
    undisturbed = run(sheet, folder / "undisturbed")
    killed = run_with_kills(sheet, folder / "killed", kills, seed, longest=fraction * (time.monotonic() - start))
    stores = len(list((folder / "killed/features").glob("*.zarr")))
    resumed = run(sheet, folder / "killed")
    assert [replace(record, seconds=0) for record in resumed] == [replace(record, seconds=0) for record in undisturbed]
    assert read_files(folder / "killed/features") == read_files(folder / "undisturbed/features")
    return killed, stores


@pytest.mark.shared
def test_stores_after_20_kills_are_those_of_an_undisturbed_run(atlas, tmp_path):
    sheet = write_table(tmp_path / "slides.csv", atlas)
    killed, stores = check_stores_after_kills(sheet, tmp_path, KILLS, seed=0, fraction=0.35)
    assert killed.total() >= KILLS // 2 and killed["embed"] >= KILLS // 4, killed
    assert stores, "no kill was after the first store"


@pytest.mark.slow
def test_stores_after_a_few_kills_are_those_of_an_undisturbed_run(slide, tmp_path):
    killed, _ = check_stores_after_kills(write_copies(slide, tmp_path, 4), tmp_path, 3, seed=1, fraction=1)
    assert killed["embed"] >= 1, killed


@pytest.mark.parametrize(("verb", "room"), [(0, 1000), pytest.param(2, 20_000, marks=pytest.mark.slow)])
def test_a_full_disk_is_named_and_leaves_nothing_half_written(slide, tmp_path, verb, room):
    """The kernel limits the size of files: a write beyond it fails as on a full disk."""
    *earlier, command = commands(write_copies(slide, tmp_path, 2), tmp_path / "out")[: verb + 1]
    for previous in earlier:
        subprocess.run(previous, check=True, capture_output=True)
    before = read_files(tmp_path / "out")
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    result = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit)
    assert result.returncode == 1
    assert "cannot be written: File too large" in result.stderr and "Traceback" not in result.stderr
    assert read_files(tmp_path / "out") == before
    subprocess.run(command, check=True, capture_output=True)  # resumes once there is room


def test_a_read_only_folder_is_named(slide, tmp_path):
    out = tmp_path / "out"
    out.mkdir(mode=0o555)
    command = commands(write_copies(slide, tmp_path, 1), out)[0]
    if os.getuid() == 0:  # root may write everywhere, unless it drops that capability
        command = ["setpriv", "--inh-caps=-dac_override", "--bounding-set=-dac_override", *command]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1, result.stderr
    assert "cannot be written: Permission denied" in result.stderr and "Traceback" not in result.stderr


@pytest.mark.slow
def test_two_runs_on_the_same_results_do_not_disturb_each_other(slide, tmp_path):
    sheet = write_copies(slide, tmp_path, 3)
    run(sheet, tmp_path / "alone")
    for command in commands(sheet, tmp_path / "both"):
        pair = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
        for process in pair:
            _, stderr = process.communicate()
            assert process.returncode == 0, stderr[-3000:]
    assert read_files(tmp_path / "both/features") == read_files(tmp_path / "alone/features")
