import os

import pytest

from roformermil.runtime import memory
from roformermil.runtime.memory import LEAST, machine_memory, one_reader, reader_memory, share_memory
from roformermil.runtime.subprocesses import run_in_subprocess

MB = 10**6


@pytest.fixture(autouse=True)
def no_shares(monkeypatch):
    monkeypatch.setattr(memory, "_shares", None)


@pytest.mark.parametrize(
    ("megabytes", "readers", "own", "part", "alone"),
    [(4500, 4, 500, 1000, 4000), (8500, 4, 500, 2000, 8000), (12000, 8, 4000, 1000, 8000), (1000, 4, 500, 500, 500)],
)
def test_the_readers_share_the_jobs_memory_and_a_single_one_has_all_of_it(megabytes, readers, own, part, alone):
    share_memory(megabytes, readers, own)
    assert reader_memory() == part * MB
    with one_reader():
        assert reader_memory() == alone * MB
    assert reader_memory() == part * MB


def test_by_default_the_readers_share_the_machines_memory():
    left = machine_memory() - 500 * MB
    assert reader_memory() == max(LEAST, left // len(os.sched_getaffinity(0)))


def test_the_limit_of_a_container_or_a_schedulers_job_counts(tmp_path, monkeypatch):
    group = tmp_path / "job"
    monkeypatch.setattr(memory, "CGROUPS", tmp_path)
    monkeypatch.setattr(memory, "own_group", lambda: "job/step")
    (group / "step").mkdir(parents=True)
    (group / "step/memory.max").write_text("max\n")
    assert machine_memory() > 3 * 10**8
    (group / "memory.max").write_text("300000000\n")
    assert machine_memory() == 3 * 10**8


def test_what_the_process_has_at_its_start_does_not_count():
    """Its imports reserve memory, more where there are more cores."""
    share_memory(1, readers=1)
    assert run_in_subprocess(len_of_bytes, LEAST - 5 * MB, timeout=60) == LEAST - 5 * MB


def len_of_bytes(count):
    return len(bytearray(count))
