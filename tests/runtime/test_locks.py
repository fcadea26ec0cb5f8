import errno
import fcntl
import multiprocessing
import os
import time

import pytest
from filelock import FileLock

from roformermil.errors import OutputError
from roformermil.runtime.files import HOST
from roformermil.runtime.locks import exclusive, try_lock


def work_alone(path, started, seconds):
    with exclusive(path):
        started.set()
        time.sleep(seconds)


@pytest.mark.parametrize("killed", [False, True])
def test_a_second_run_waits_until_the_first_ends_or_is_killed(tmp_path, killed, caplog):
    started = multiprocessing.Event()
    first = multiprocessing.Process(target=work_alone, args=(tmp_path / "a.csv", started, 60 if killed else 1.0))
    first.start()
    started.wait()
    if killed:
        first.kill()
        first.join()
    start = time.monotonic()
    with exclusive(tmp_path / "a.csv"):
        waited = time.monotonic() - start
    assert waited < 5 if killed else waited > 0.5
    assert killed or "a.csv: another run is writing here" in caplog.text
    first.join()


def test_a_lock_can_be_taken_by_one_only(tmp_path):
    one, two = (FileLock(tmp_path / "lock", is_singleton=False) for _ in range(2))
    assert try_lock(one) and not try_lock(two)
    one.release()
    assert try_lock(two)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS])
def test_without_locks_the_work_proceeds_with_a_warning(tmp_path, monkeypatch, caplog, number):
    def refuse(*_):
        raise OSError(number, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    (tmp_path / ".a.csv.lock").write_text("1\nanother-machine\n")  # of a killed job
    with exclusive(tmp_path / "a.csv"):
        assert "this file system has no locks" in caplog.text


@pytest.mark.parametrize(
    ("note", "warns"),
    [("node7 1", True), (f"{HOST} {2**22 + 1}", False), (f"{HOST} {os.getppid()}", True), ("nod", False)],
)
def test_a_job_that_locks_do_not_reach_is_named_unless_it_is_gone(tmp_path, caplog, note, warns):
    (tmp_path / ".a.csv.by.lock").write_text(note)  # of another host, a dead process, a live one, half written
    with exclusive(tmp_path / "a.csv"):
        assert ("a job on " in caplog.text) == warns
    caplog.clear()
    with exclusive(tmp_path / "a.csv"):
        assert not caplog.text, "it ended"


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="folder/a.csv: cannot be written"), exclusive(tmp_path / "file/folder/a.csv"):
        pass
