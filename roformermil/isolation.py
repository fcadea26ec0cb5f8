"""Work on a slide in a process of its own: what its file does to the library that reads it (a crash, a hang, a
decompression bomb) costs that slide and nothing else."""

import contextlib
import fcntl
import multiprocessing
import os
import pickle
import resource
import signal
import struct
import sys
import threading
import time
import traceback
import types
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from multiprocessing.connection import Connection, wait
from typing import Any

from roformermil.errors import Reason, SlideError

MEMORY = 8 * 2**30  # bytes of data that reading one slide may take

# A server that has imported what reads slides, and is forked from: 15 ms a process, and none inherits the parent's
# threads, locks or GPU.
_context = multiprocessing.get_context("forkserver")
_preload = ["roformermil.features.reading", "roformermil.slides.stages"]
if find_spec("tiatoolbox"):
    _preload.append("roformermil.slides.toolbox")  # takes 10 s: once, not once a process
_context.set_forkserver_preload(_preload)
_one_at_a_time = threading.Lock()
HEADER = struct.Struct("!Q")  # length of a value
PATIENCE = 5.0  # seconds for a process that was killed to be gone
PIPE = 2**20  # bytes that a pipe holds: with Linux's 64 KiB a value of some MB would cost a hundred changes of process


def isolated(work: Callable[..., Any], *args: Any, timeout: float) -> Any:
    """The result of `work(*args)`. Raises what a Stream raises."""
    with contextlib.closing(Stream(_once, work, args, timeout=timeout)) as values:
        return next(values)


def _once(work: Callable[..., Any], args: tuple) -> Iterator[Any]:
    yield work(*args)


@contextlib.contextmanager
def _no_main() -> Iterator[None]:
    """multiprocessing would import the user's script again in every process, torch and all: what runs there needs none."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


class Stream(Iterator[Any]):
    """The values of the generator function `work(*args)`, made in a process that starts now and is one value ahead.

    Raises what the work raises, and SlideError: `timed_out` when a value does not come within `timeout` seconds,
    `crashed` when the process dies, `out_of_memory` when it takes more than MEMORY. Close it: that ends the process.
    """

    def __init__(self, work: Callable[..., Iterator[Any]], *args: Any, timeout: float):
        self.timeout = timeout
        self._receive, send = _context.Pipe(duplex=False)
        self._process = _context.Process(target=_serve, args=(send, work, args), daemon=True)
        with contextlib.suppress(AttributeError, OSError):
            fcntl.fcntl(send, fcntl.F_SETPIPE_SZ, PIPE)  # Linux
        with _one_at_a_time, _no_main():
            self._process.start()
        send.close()  # the other process has its own: when it dies, this end sees the end

    def __next__(self) -> Any:
        deadline = time.monotonic() + self.timeout
        try:
            (length,) = HEADER.unpack(self._read(HEADER.size, deadline))
            kind, value = pickle.loads(self._read(length, deadline))
        except EOFError:
            with _one_at_a_time:  # reading an exit status is not for two threads at once
                self._process.join(PATIENCE)
                end = _end(self._process)
            raise SlideError(Reason.CRASHED, f"reading the slide ended the process that did it ({end})") from None
        if kind == "end":
            raise StopIteration
        if kind == "error":
            raise value
        return value

    def _read(self, count: int, deadline: float) -> bytearray:
        """So many bytes, all of them before the deadline: a process may stand still in the middle of a value too."""
        data = bytearray(count)
        rest = memoryview(data)
        while rest:
            if not self._receive.poll(max(0, deadline - time.monotonic())):
                raise SlideError(
                    Reason.TIMED_OUT,
                    f"reading stood still for {self.timeout:g} s; see slide_timeout, and the disk that the file is on",
                )
            got = os.readv(self._receive.fileno(), [rest])
            if not got:
                raise EOFError
            rest = rest[got:]
        return data

    def close(self) -> None:
        with _one_at_a_time:
            if self._process.is_alive():
                self._process.kill()
            self._process.join(PATIENCE)  # one that hangs in the kernel ends when its disk answers
        self._receive.close()


def _end(process: Any) -> str:
    code = process.exitcode
    if code is None:
        return "it does not answer"
    return signal.Signals(-code).name if code < 0 else f"exit status {code}"


def _serve(send: Connection, work: Callable[..., Iterator[Any]], args: tuple) -> None:
    """The other process: send each value, then how it ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends this process
    threading.Thread(target=_die_with, args=(multiprocessing.parent_process(),), daemon=True).start()
    with contextlib.suppress(ValueError, OSError):  # where a lower limit stands already
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    try:
        for value in work(*args):
            _send(send, "value", value)
        _send(send, "end", None)
    except MemoryError:
        _send(send, "error", SlideError(Reason.OUT_OF_MEMORY, f"reading it takes more than {MEMORY >> 30} GiB"))
    except Exception as error:
        error.add_note(traceback.format_exc())
        _send(send, "error", error if _travels(error) else RuntimeError(repr(error)))


def _send(send: Connection, kind: str, value: Any) -> None:
    data = pickle.dumps((kind, value), protocol=5)
    with open(send.fileno(), "wb", buffering=0, closefd=False) as pipe:
        for part in (memoryview(HEADER.pack(len(data))), memoryview(data)):
            while part:
                part = part[pipe.write(part) :]


def _travels(error: Exception) -> bool:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return False
    return True


def _die_with(parent: Any) -> None:
    """A process whose parent was killed would read on for nobody."""
    wait([parent.sentinel])
    os._exit(1)
