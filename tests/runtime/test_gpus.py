"""One job a GPU: real processes that claim names of GPUs. No device is behind the names; the locks are real."""

import subprocess
import sys

import pytest

from roformermil.runtime.gpus import VISIBLE, claim_gpu

JOB = "import sys; from pathlib import Path; from roformermil.devices import claim_gpu; print(claim_gpu(Path(sys.argv[1])), flush=True); sys.stdin.read()"


def start(folder, names):
    return subprocess.Popen(
        [sys.executable, "-c", JOB, folder], env={"PATH": "", VISIBLE: names}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip


def test_two_jobs_have_two_gpus_and_a_third_waits_for_one_of_them(tmp_path):
    one, two = start(tmp_path, "A,B"), start(tmp_path, "A,B")
    taken = [job.stdout.readline().strip() for job in (one, two)]
    assert sorted(taken) == ["A", "B"]
    third = start(tmp_path, "A,B")
    two.kill()  # however it ends
    two.wait()
    assert third.stdout.readline().strip() == taken[1]
    for job in (one, third):
        job.communicate("")


@pytest.mark.parametrize("names", ["", "3", "GPU-of-a-scheduler"])
def test_where_there_is_no_choice_none_is_claimed(names, tmp_path, monkeypatch):
    monkeypatch.setenv(VISIBLE, names)
    assert claim_gpu(tmp_path) is None
    assert not list(tmp_path.iterdir())
