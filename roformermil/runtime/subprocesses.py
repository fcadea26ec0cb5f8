"""Work in a process of its own, so that a file which crashes, stalls or exhausts the library reading it costs one slide."""

import contextlib
import mmap
import multiprocessing
import os
import pickle
import resource
import signal
import socket
import struct
import sys
import threading
import traceback
import types
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any

from roformermil.errors import SlideError, Status
from roformermil.runtime.memory import is_memory, reader_memory, writable_memory

OUT_OF_MEMORY = (  # without the amount: slides.csv stays the same when more was not enough either
    "reading this slide needs more memory than there is for it: convert it (`vips tiffsave --tile --pyramid`), or give "
    "the job more (the workflow's next run asks for twice as much)"
)
EXIT_SECONDS = 5.0  # for a killed process to end
NEXT = b"."  # a value was taken; a file follows
ENDING = {signal.SIGINT, signal.SIGTERM}  # Ctrl-C, a scheduler

# Processes are forked from a server that has imported what they need: 15 ms each, and none inherits the parent's threads,
# locks or GPU.
_context = multiprocessing.get_context("forkserver")
_preloaded: list[str] = []
_start_lock = threading.Lock()  # starting a process and reading its exit status are for one thread at a time


def preload(*modules: str) -> None:
    """Have the server import these modules once, instead of every process. Has no effect once a process was started."""
    _preloaded.extend(modules)
    _context.set_forkserver_preload(_preloaded)


def run_in_subprocess(work: Callable[..., Any], *args: Any, timeout: float) -> Any:
    """The result of `work(*args)`. Raises as SubprocessStream does."""
    with contextlib.closing(SubprocessStream(_yield_result, work, args, timeout=timeout)) as values:
        return next(values)


def _yield_result(work: Callable[..., Any], args: tuple) -> Iterator[Any]:
    yield work(*args)


class SubprocessStream(Iterator[Any]):
    """The values of the generator function `work(*args)`, computed in a process that starts now and stays one value ahead.

    Raises what the work raises, and SlideError: `timed_out` when no value arrives for `timeout` seconds, `crashed` when
    the process dies, `out_of_memory` when it needs more than `reader_memory`. `close` ends the process.
    """

    def __init__(self, work: Callable[..., Iterator[Any]], *args: Any, timeout: float):
        self.timeout = timeout
        self._receiver, sender = _context.Pipe()  # duplex: a socket, twice as fast as a pipe for values of megabytes
        _limit_waiting(self._receiver, timeout)
        values = (sender, reader_memory(), work, args)
        self._process = _context.Process(target=_send_values, args=values, daemon=True)
        with _start_lock, _without_main(), _without_signals():
            self._process.start()
        sender.close()  # the process has a copy; without this one, its death ends the stream

    def __next__(self) -> Any:
        try:
            data, buffers = _receive(self._receiver)
        except BlockingIOError:
            advice = "check the disk that the file is on, or raise slide_timeout"
            raise SlideError(Status.TIMED_OUT, f"reading stalled for {self.timeout:g} s: {advice}") from None
        except (EOFError, OSError):  # between two values, within one
            message = f"the process reading this slide crashed ({self._exit_reason()})"
            raise SlideError(Status.CRASHED, message) from None
        value, error = pickle.loads(data, buffers=buffers)
        if error is not None:  # StopIteration at the end
            raise error
        with contextlib.suppress(OSError):  # the process died; `next` says so
            self._receiver.send_bytes(NEXT)
        return value

    def close(self) -> None:
        with _start_lock:
            if self._process.is_alive():
                self._process.kill()
            self._process.join(EXIT_SECONDS)  # one that waits for a disk ends when the disk answers
        self._receiver.close()

    def _exit_reason(self) -> str:
        with _start_lock:
            self._process.join(EXIT_SECONDS)
            code = self._process.exitcode
        if code is None:
            return "it does not respond"
        return signal.Signals(-code).name if code < 0 else f"exit status {code}"


def _limit_waiting(connection: Connection, seconds: float) -> None:
    """Have reads fail with BlockingIOError after `seconds` without data, in the middle of a value too, unlike `poll`."""
    whole, fraction = divmod(max(seconds, 1e-6), 1)  # the kernel takes 0 for no limit
    with socket.socket(fileno=os.dup(connection.fileno())) as same_socket:
        limit = struct.pack("ll", int(whole), int(fraction * 1e6))
        same_socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Keep multiprocessing from importing the user's script in every process: with torch in it that takes 2 s, not 15 ms, and
    a script without `if __name__ == "__main__"` would run again."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextlib.contextmanager
def _without_signals() -> Iterator[None]:
    """Block Ctrl-C and SIGTERM while a process starts: the server that the first call starts inherits this. It would end its
    imports with a traceback, or end while this process still finishes a slide."""
    resource_tracker.ensure_running()  # while it starts, it unblocks both
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _send_values(sender: Connection, memory: int, work: Callable[..., Iterator[Any]], args: tuple) -> None:
    """What the process runs, with `memory` bytes more than at its start: send each value, then how the work ended."""
    for number in ENDING:  # they go to the parent, which ends this process
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_exit_with, args=(multiprocessing.parent_process(),), daemon=True).start()
    if opencv := sys.modules.get("cv2"):  # imported with `work`; there is a process per core already
        opencv.setNumThreads(1)
    with contextlib.suppress(ValueError, OSError):  # where a lower limit is set already
        limit = writable_memory() + memory
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))

    def send(value: Any, error: Exception | None = None) -> None:
        _send(sender, (value, error))

    try:
        for k, value in enumerate(work(*args)):
            if k:
                sender.recv_bytes()  # the value before was taken: at most one waits
            send(value)
        send(None, StopIteration())
    except Exception as error:
        if is_memory(error):
            error = SlideError(Status.OUT_OF_MEMORY, OUT_OF_MEMORY)
        error.add_note(traceback.format_exc())
        send(None, error if _survives_pickling(error) else RuntimeError(repr(error)))


def _send(connection: Connection, value: Any) -> None:
    """Send a value. Its arrays go in a file in memory, which the receiver maps: no socket copies them, twice, in small parts."""
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    parts = [buffer.raw() for buffer in buffers]
    sizes = pickle.dumps([part.nbytes for part in parts])
    if not any(part.nbytes for part in parts):
        connection.send_bytes(sizes)
    else:
        file = os.memfd_create("values")
        with open(file, "wb", buffering=0) as memory, socket.socket(fileno=os.dup(connection.fileno())) as same_socket:
            with _files_of_any_size():
                for part in parts:
                    while part.nbytes:
                        part = part[memory.write(part) :]
            connection.send_bytes(sizes)  # after all that may fail
            socket.send_fds(same_socket, [NEXT], [file])
    connection.send_bytes(data)


@contextlib.contextmanager
def _files_of_any_size() -> Iterator[None]:
    """Lift the user's limit on the size of files (`ulimit -S -f`), which the kernel also applies to files in memory."""
    limit, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))


def _receive(connection: Connection) -> tuple[bytes, list[memoryview]]:
    """What `_send` sent: the value, pickled, and its arrays' bytes, whose memory is freed with the last array."""
    sizes: list[int] = pickle.loads(connection.recv_bytes())
    whole, buffers, start = memoryview(b""), list[memoryview](), 0
    if any(sizes):
        with socket.socket(fileno=os.dup(connection.fileno())) as same_socket:
            _, files, _, _ = socket.recv_fds(same_socket, len(NEXT), 1)
        if not files:
            raise EOFError
        file = files[0]
        whole = memoryview(mmap.mmap(file, sum(sizes)))
        os.close(file)
    for size in sizes:
        buffers.append(whole[start : start + size])
        start += size
    return connection.recv_bytes(), buffers


def _survives_pickling(error: Exception) -> bool:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return False
    return True


def _exit_with(parent: Any) -> None:
    """End with the parent: a process whose parent was killed would read on for nobody."""
    wait([parent.sentinel])
    os._exit(1)
