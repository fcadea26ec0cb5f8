"""Copies of slides on a fast disk (`runtime.scratch`), so that a slow or shared one is read once, from beginning to end."""

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from threading import Event, Lock

from roformermil.cohort.slide_files import companions
from roformermil.errors import SlideError
from roformermil.runtime.files import HOST, remove, remove_abandoned
from roformermil.runtime.subprocesses import SubprocessStream, preload
from roformermil.runtime.text import file_size

BLOCK = 2**24  # bytes copied at a time
SPARE = 2**30  # bytes of the disk that stay free
END_SECONDS = 5.0  # that `Copies.close` waits for the copy in hand, whose disk may never answer
log = logging.getLogger(__name__)
preload(__name__)


class Copy:
    """A copy of a slide's files, in a folder of its own. `path`: of the copied slide. `remove` removes it."""

    def __init__(self, path: Path):
        self.path = path

    def remove(self) -> None:
        remove(self.path.parent)


class Copies:
    """The copies that one job makes below `scratch`, none where that is None. `close` removes those that are left, also where
    an error or SIGTERM ends the work on them."""

    def __init__(self, scratch: Path | None, timeout: float):
        self._scratch, self._timeout = scratch, timeout
        self._made: list[Copy] = []
        self._copying, self._closed = Lock(), Event()

    def make(self, path: Path, name: str) -> Copy | None:
        """As `copy_slide`, in any thread; None once these copies are closed."""
        with self._copying:
            if self._scratch is None or self._closed.is_set():
                return None
            copy = copy_slide(path, self._scratch, name, self._timeout, self._closed.is_set)
            if copy and self._closed.is_set():  # it may be incomplete, and `close` may no longer wait for it
                copy.remove()
                return None
            if copy:
                self._made.append(copy)
            return copy

    def close(self) -> None:
        """End the copy in hand at its next block, and remove all copies."""
        self._closed.set()
        has_ended = self._copying.acquire(timeout=END_SECONDS)
        for copy in self._made:
            with suppress(OSError):  # its own thread removes it too, or the next job does
                copy.remove()
        if has_ended:
            self._copying.release()


def copy_slide(
    path: Path, scratch: Path, name: str, timeout: float, is_stopped: Callable[[], bool] = lambda: False
) -> Copy | None:
    """A copy of a slide in a folder of this `name` below `scratch`, where environment variables are replaced; None, with a
    warning, where it does not fit or cannot be made: the slide is then read where it is.

    The folder is named after this process: those of killed processes are removed. timeout: seconds that reading may stall.
    is_stopped: asked after each block; if so, the copy is incomplete, for the caller to remove.
    """
    folder = Path(os.path.expandvars(scratch)) / f".{name}.{HOST}-{os.getpid()}"
    try:
        remove_abandoned(folder.parent)
        files = _files_of(path)
        needed, free = sum(file.stat().st_size for file in files), shutil.disk_usage(folder.parent).free - SPARE
        if needed > free:
            log.warning("%s: no room in %s for %s: read where it is", name, folder.parent, file_size(needed))
            return None
        with closing(SubprocessStream(_copy_files, path, files, folder, timeout=timeout)) as blocks:
            for _ in blocks:
                if is_stopped():
                    break
    except (OSError, SlideError) as error:
        log.warning("%s: not copied to %s (%s): read where it is", name, folder.parent, error)
        with suppress(OSError):
            remove(folder)
        return None
    return Copy(folder / path.name)


def _files_of(path: Path) -> list[Path]:
    parts = [path, *companions(path)]
    folders = [part for part in parts if part.is_dir()]
    inside = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    return [part for part in parts if part not in folders] + inside


def _copy_files(path: Path, files: list[Path], folder: Path) -> Iterator[None]:
    """Yields after each block. Runs in a process of its own, since a disk may never answer."""
    for file in files:
        copy = folder / file.relative_to(path.parent)
        copy.parent.mkdir(parents=True, exist_ok=True)
        with open(file, "rb") as source, open(copy, "wb") as target:
            while block := source.read(BLOCK):
                target.write(block)
                yield
