import errno
import fcntl
import multiprocessing
import os

import pytest

from roformermil.errors import OutputError
from roformermil.runtime.files import HOST, atomic_path, file_sha256, fingerprint, write_text


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "table.csv"
    write_text(target, "old")
    with pytest.raises(RuntimeError), atomic_path(target) as scratch:
        scratch.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_is_an_error_that_names_the_file(tmp_path):
    message = r"table\.csv: cannot be written: No space left"
    with pytest.raises(OutputError, match=message), atomic_path(tmp_path / "table.csv"):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(IsADirectoryError), atomic_path(tmp_path / "table.csv"):
        raise OSError(errno.EISDIR, "no fault of the disk")


def test_fingerprints_depend_on_values_not_on_order(tmp_path):
    assert fingerprint(a=1, b="x") == fingerprint(b="x", a=1)
    assert fingerprint(a=1, b="x") != fingerprint(a=2, b="x")
    (tmp_path / "a").write_bytes(b"abc")  # NIST's example
    assert file_sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_scratch_files_of_dead_processes_are_removed(tmp_path):
    dead, alive = 2**22 + 1, os.getppid()  # above the kernel's largest number; another process
    for number in (dead, alive):
        (tmp_path / f".a.{HOST}-{number}.txt").write_text("half")
    (tmp_path / f".a.elsewhere-{dead}.txt").write_text("another host's")
    write_text(tmp_path / "a.txt", "complete")
    kept = {f".a.{HOST}-{alive}.txt", f".a.elsewhere-{dead}.txt", "a.txt"}
    assert {path.name for path in tmp_path.iterdir()} == kept


def test_a_folder_is_listed_once_however_many_files_are_written_into_it(tmp_path, monkeypatch):
    listed, list_folder = [], os.listdir
    monkeypatch.setattr(os, "listdir", lambda folder: listed.append(folder) or list_folder(folder))
    for k in range(3):
        write_text(tmp_path / f"{k}.txt", "text")
    assert listed == [tmp_path]


def raise_no_locks(*_):
    raise OSError(errno.ENOLCK, "No locks available")


def replace_often(path, times):
    for k in range(times):
        with atomic_path(path) as scratch:
            scratch.mkdir()
            (scratch / str(k)).touch()


@pytest.mark.parametrize("has_locks", [True, False])
def test_two_processes_can_replace_a_folder_with_its_content_at_the_same_time(tmp_path, monkeypatch, has_locks):
    if not has_locks:  # or only among the processes of a host
        monkeypatch.setattr(fcntl, "flock", raise_no_locks)
    pair = [multiprocessing.Process(target=replace_often, args=(tmp_path / "store.zarr", 300)) for _ in range(2)]
    for process in pair:
        process.start()
    for process in pair:
        process.join()
        assert process.exitcode == 0
    assert [path.name for path in tmp_path.rglob("*")] == ["store.zarr", "299"]
