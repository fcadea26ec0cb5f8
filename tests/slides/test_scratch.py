import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from roformermil.slides import scratch
from roformermil.slides.scratch import Copies, copy_slide


def test_a_copy_has_all_files_of_the_slide_and_is_removed_whole(tmp_path, monkeypatch):
    (tmp_path / "slide").mkdir()
    for name in ("slide.mrxs", "slide/Slidedat.ini", "slide/Data0000.dat", "other.mrxs"):
        (tmp_path / name).write_bytes(name.encode() * 100)
    (tmp_path / "fast").mkdir()
    monkeypatch.setenv("FAST_DISK", str(tmp_path / "fast"))
    copy = copy_slide(tmp_path / "slide.mrxs", Path("$FAST_DISK"), "s1", timeout=60)
    files = sorted(
        path.relative_to(copy.path.parent).as_posix() for path in copy.path.parent.rglob("*") if path.is_file()
    )
    assert files == ["slide.mrxs", "slide/Data0000.dat", "slide/Slidedat.ini"]
    assert copy.path.read_bytes() == (tmp_path / "slide.mrxs").read_bytes()
    copy.remove()
    assert list((tmp_path / "fast").iterdir()) == []


@pytest.mark.parametrize("cause", ["no room", "no folder", "no slide", "stalls"])
def test_a_slide_that_cannot_be_copied_is_read_where_it_is(slide, tmp_path, monkeypatch, caplog, cause):
    path, folder = slide, tmp_path / "fast"
    folder.mkdir()
    if cause == "no room":
        monkeypatch.setattr(scratch, "SPARE", shutil.disk_usage(tmp_path).free)
    elif cause == "no folder":
        folder = tmp_path / "$UNSET"
    elif cause == "no slide":
        path = tmp_path / "none.svs"
    else:  # a pipe that nobody writes to
        path = tmp_path / "stalls.svs"
        os.mkfifo(path)
        monkeypatch.setattr(scratch, "_files_of", lambda path: [path])
    start = time.monotonic()
    assert copy_slide(path, folder, "s1", timeout=1) is None
    assert time.monotonic() - start < 30 and "read where it is" in caplog.text
    assert list((tmp_path / "fast").iterdir()) == []


def test_closing_ends_the_copy_in_hand_and_removes_all(tmp_path, monkeypatch):
    (tmp_path / "fast").mkdir()
    (tmp_path / "small.svs").write_bytes(b"1")
    (tmp_path / "large.svs").write_bytes(b"2")
    copies = Copies(tmp_path / "fast", timeout=60)
    assert copies.make(tmp_path / "small.svs", "small").path.exists()
    monkeypatch.setattr(scratch, "_copy_files", slow_blocks)
    thread = threading.Thread(target=copies.make, args=(tmp_path / "large.svs", "large"))
    thread.start()
    while len(list((tmp_path / "fast").iterdir())) < 2:
        time.sleep(0.01)
    start = time.monotonic()
    copies.close()
    thread.join()
    assert time.monotonic() - start < scratch.END_SECONDS and list((tmp_path / "fast").iterdir()) == []
    assert copies.make(tmp_path / "small.svs", "later") is None


def slow_blocks(path, files, folder):
    """As `_copy_files`, for minutes."""
    folder.mkdir(parents=True)
    for _ in range(600):
        time.sleep(0.1)
        yield
