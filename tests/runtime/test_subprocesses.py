import errno
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from roformermil.errors import ConfigError, SlideError, Status
from roformermil.runtime import memory
from roformermil.runtime.memory import LEAST, share_memory
from roformermil.runtime.subprocesses import SubprocessStream, run_in_subprocess


def refuse(error):
    raise error


def fail_unpicklably():
    raise type("Local", (Exception,), {})("of a local class")


def count_slowly():
    for k in range(5):
        time.sleep(0.4)
        yield k


def large_arrays(record: Path):
    """Arrays of 20 MB, empty ones beside them; `record` has a byte for each that was begun."""
    for k in range(6):
        with record.open("ab") as file:
            file.write(b".")
        yield {"number": k, "array": np.full((20, 1000, 1000), k, np.uint8), "none": np.empty((0, 2), np.int32)}


def blur_large_image(height, width):
    return cv2.GaussianBlur(np.full((height, width, 3), 240, np.float32), (0, 0), 3).shape


def opencv_threads():
    return cv2.getNumThreads()


ERRORS = [SlideError(Status.NO_MPP, "text"), ConfigError("text"), OSError(errno.ENOSPC, "text"), KeyError("text")]
DEATHS = [
    (signal.raise_signal, [signal.SIGSEGV], "crashed", "SIGSEGV"),
    (signal.raise_signal, [signal.SIGKILL], "crashed", "SIGKILL"),
    (os._exit, [7], "crashed", "exit status 7"),
    (bytearray, [LEAST + 10**8], "out_of_memory", "vips tiffsave --tile --pyramid"),
    (blur_large_image, [5000, 5000], "out_of_memory", "vips tiffsave --tile --pyramid"),
    (refuse, [OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))], "out_of_memory", "give the job more"),
    (time.sleep, [30], "timed_out", "stalled for 1 s"),
]


@pytest.fixture(autouse=True)
def least_memory(monkeypatch):
    """Readers with the least that they get."""
    monkeypatch.setattr(memory, "_shares", None)
    share_memory(1, readers=4)


@pytest.mark.parametrize(("work", "arguments", "status", "message"), DEATHS)
def test_a_process_that_dies_or_stalls_is_an_error_of_the_slide(work, arguments, status, message):
    with pytest.raises(SlideError, match=message) as error:
        run_in_subprocess(work, *arguments, timeout=1 if status == "timed_out" else 60)
    assert error.value.status == status


@pytest.mark.parametrize("error", ERRORS)
def test_errors_are_raised_as_in_the_process(error):
    with pytest.raises(type(error), match="text") as raised:
        run_in_subprocess(refuse, error, timeout=60)
    for name in ("status", "errno"):
        assert getattr(raised.value, name, None) == getattr(error, name, None)


def test_opencv_has_one_thread_in_each_process():
    assert run_in_subprocess(opencv_threads, timeout=60) == 1


def test_an_error_that_cannot_be_pickled_keeps_its_message():
    with pytest.raises(RuntimeError, match="of a local class"):
        run_in_subprocess(fail_unpicklably, timeout=60)


def test_values_are_in_order_and_the_timeout_is_per_value():
    with closing(SubprocessStream(count_slowly, timeout=1.5)) as stream:
        assert list(stream) == list(range(5))  # two seconds in total


@pytest.mark.parametrize(("number", "status"), [(signal.SIGKILL, "crashed"), (signal.SIGSTOP, "timed_out")])
def test_a_process_that_dies_or_stalls_between_values_is_killed(number, status, tmp_path):
    run_in_subprocess(opencv_threads, timeout=60)  # starts the server, which takes longer than the stream's timeout
    with closing(SubprocessStream(large_arrays, tmp_path / "begun", timeout=3)) as stream:
        next(stream)
        os.kill(stream._process.pid, number)
        with pytest.raises(SlideError) as error:
            list(stream)  # one value may have been sent before
    assert error.value.status == status and not stream._process.is_alive()


def test_arrays_arrive_whole_and_can_be_changed_and_kept(tmp_path):
    with closing(SubprocessStream(large_arrays, tmp_path / "begun", timeout=60)) as stream:
        values = list(stream)
    for k, value in enumerate(values):
        value["array"][0] += 1
        assert value["number"] == k and (value["array"][0] == k + 1).all() and (value["array"][1:] == k).all()
        assert value["none"].shape == (0, 2)
    assert len(values) == 6


def test_a_process_is_at_most_two_values_ahead(tmp_path):
    """One that waits for its use and one that waits to be sent: with tiles in them, memory stays bounded."""
    begun = tmp_path / "begun"
    with closing(SubprocessStream(large_arrays, begun, timeout=60)) as stream:
        for taken in (1, 2, 3):
            next(stream)
            time.sleep(0.5)
            assert begun.stat().st_size <= taken + 2
        assert begun.stat().st_size > taken, "it works ahead"


def test_messages_are_the_same_from_many_threads():
    die = partial(run_in_subprocess, signal.raise_signal, signal.SIGSEGV, timeout=60)
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(die) for _ in range(60)]
    assert {str(job.exception()) for job in jobs} == {"the process reading this slide crashed (SIGSEGV)"}


def blocked_signals():
    return set(signal.pthread_sigmask(signal.SIG_BLOCK, []))


def test_ctrl_c_reaches_this_process_only():
    """Else the server that forks processes ends with a traceback while it imports, and its children with it."""
    assert signal.SIGINT in run_in_subprocess(blocked_signals, timeout=60)
    assert signal.SIGINT not in blocked_signals()
