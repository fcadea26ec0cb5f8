import multiprocessing
import os
import time

import pytest

from roformermil.cohort.slide_files import content_id
from roformermil.runtime.files import HOST, atomic_path, fingerprint, write_text
from roformermil.runtime.locks import exclusive


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "table.csv"
    write_text(target, "old")
    with pytest.raises(RuntimeError), atomic_path(target) as scratch:
        scratch.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_replaces_a_folder(tmp_path):
    target = tmp_path / "store.zarr"
    for name in ("one", "two"):
        with atomic_path(target) as scratch:
            scratch.mkdir()
            (scratch / name).touch()
    assert [p.name for p in target.iterdir()] == ["two"]
    assert list(tmp_path.iterdir()) == [target]


def test_fingerprints_depend_on_values_not_on_order():
    assert fingerprint(a=1, b="x") == fingerprint(b="x", a=1)
    assert fingerprint(a=1, b="x") != fingerprint(a=2, b="x")


def test_content_id_follows_content(tmp_path):
    file, copy = tmp_path / "a", tmp_path / "b"
    data = bytearray(range(256)) * 10000
    file.write_bytes(data)
    copy.write_bytes(data)
    assert content_id(file) == content_id(copy)
    data[0] ^= 1
    copy.write_bytes(data)
    assert content_id(file) != content_id(copy)
    copy.write_bytes(data[:-1])
    assert content_id(file) != content_id(copy)


def test_scratch_of_a_process_that_is_gone_is_removed(tmp_path):
    gone, alive = 2**22 + 1, os.getppid()  # beyond the kernel's largest; somebody else's
    for number in (gone, alive):
        (tmp_path / f".a.{HOST}-{number}.txt").write_text("half")
    (tmp_path / f".a.elsewhere-{gone}.txt").write_text("another host's")
    write_text(tmp_path / "a.txt", "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [f".a.{HOST}-{alive}.txt", f".a.elsewhere-{gone}.txt", "a.txt"]
    )


def test_a_folders_content_is_its_files(tmp_path):
    folder = tmp_path / "slide.zarr"
    (folder / "0").mkdir(parents=True)
    for k in range(40):
        (folder / f"0/{k}").write_bytes(bytes([k]) * 100)
    first = content_id(folder)
    assert content_id(folder) == first
    (folder / "0/0").write_bytes(b"x" * 100)
    assert content_id(folder) != first
    (folder / "0/0").write_bytes(bytes(100))
    (folder / "0/7").rename(folder / "0/70")
    assert content_id(folder) != first


def replace_often(path, times):
    for k in range(times):
        with atomic_path(path) as scratch:
            scratch.mkdir()
            (scratch / "content").write_text(str(k))


def test_a_folder_can_be_replaced_by_two_at_once(tmp_path):
    pair = [multiprocessing.Process(target=replace_often, args=(tmp_path / "store.zarr", 300)) for _ in range(2)]
    for process in pair:
        process.start()
    for process in pair:
        process.join()
        assert process.exitcode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["store.zarr"]
    assert (tmp_path / "store.zarr/content").read_text() == "299"


def hold(path, begun, seconds):
    with exclusive(path):
        begun.set()
        time.sleep(seconds)


@pytest.mark.parametrize("killed", [False, True])
def test_a_second_run_waits_for_the_first_however_that_ends(tmp_path, killed):
    begun = multiprocessing.Event()
    first = multiprocessing.Process(target=hold, args=(tmp_path / "a.csv", begun, 60 if killed else 1.0))
    first.start()
    begun.wait()
    if killed:
        first.kill()
    start = time.monotonic()
    with exclusive(tmp_path / "a.csv"):
        waited = time.monotonic() - start
    assert waited < 5 if killed else waited > 0.5
    first.join()
