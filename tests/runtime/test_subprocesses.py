import errno
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial

import pytest

from roformermil.errors import ConfigError, SlideError, Status
from roformermil.runtime.subprocesses import MEMORY_LIMIT, SubprocessStream, run_in_subprocess


def bomb():
    return len(bytearray(MEMORY_LIMIT + 2**30))


def refuse(error):
    raise error


def fail_unpicklably():
    raise type("Local", (Exception,), {})("of a local class")


def count(to, pause=0.0):
    for k in range(to):
        time.sleep(pause)
        yield k


def large(to):
    for _ in range(to):
        yield bytes(20_000_000)


@pytest.mark.parametrize(
    ("work", "arguments", "status", "message"),
    [
        (signal.raise_signal, [signal.SIGSEGV], "crashed", "SIGSEGV"),
        (signal.raise_signal, [signal.SIGKILL], "crashed", "SIGKILL"),
        (os._exit, [7], "crashed", "exit status 7"),
        (bomb, [], "out_of_memory", "GiB"),
        (time.sleep, [30], "timed_out", "stalled for 1 s"),
    ],
)
def test_a_process_that_dies_or_stalls_is_an_error_of_the_slide(work, arguments, status, message):
    with pytest.raises(SlideError, match=message) as error:
        run_in_subprocess(work, *arguments, timeout=1 if status == "timed_out" else 60)
    assert error.value.status == status


@pytest.mark.parametrize(
    "error", [SlideError(Status.NO_MPP, "text"), ConfigError("text"), OSError(errno.ENOSPC, "text"), KeyError("text")]
)
def test_errors_are_raised_as_in_the_process(error):
    with pytest.raises(type(error), match="text") as raised:
        run_in_subprocess(refuse, error, timeout=60)
    for name in ("status", "errno"):
        assert getattr(raised.value, name, None) == getattr(error, name, None)


def test_an_error_that_cannot_be_pickled_keeps_its_message():
    with pytest.raises(RuntimeError, match="of a local class"):
        run_in_subprocess(fail_unpicklably, timeout=60)


def test_values_are_in_order_and_the_timeout_is_per_value():
    with closing(SubprocessStream(count, 5, 0.4, timeout=1.5)) as stream:
        assert list(stream) == list(range(5))  # two seconds in total


@pytest.mark.parametrize(("number", "status"), [(signal.SIGKILL, "crashed"), (signal.SIGSTOP, "timed_out")])
def test_a_process_may_die_or_stall_in_the_middle_of_a_value(number, status):
    """A chunk of tiles is far larger than a pipe's buffer, so readers spend time sending."""
    with closing(SubprocessStream(large, 3, timeout=1)) as stream:
        assert len(next(stream)) == 20_000_000
        time.sleep(0.3)  # the next value is half sent
        os.kill(stream._process.pid, number)
        with pytest.raises(SlideError) as error:
            next(stream)
    assert error.value.status == status


def test_messages_are_the_same_from_many_threads():
    die = partial(run_in_subprocess, signal.raise_signal, signal.SIGSEGV, timeout=60)
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(die) for _ in range(60)]
    assert {str(job.exception()) for job in jobs} == {"the process reading this slide crashed (SIGSEGV)"}


def test_a_stalled_process_is_killed():
    with closing(SubprocessStream(count, 1000, 0.05, timeout=0.5)) as stream:
        assert next(stream) == 0
        os.kill(stream._process.pid, signal.SIGSTOP)
        with pytest.raises(SlideError, match="stalled"):
            for _ in stream:
                pass
    assert not stream._process.is_alive()
