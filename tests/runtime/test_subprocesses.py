import errno
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from roformermil.errors import ConfigError, SlideError, Status
from roformermil.runtime.subprocesses import MEMORY, SubprocessStream, run_in_subprocess


def die(number):
    os.kill(os.getpid(), number)


def leave():
    os._exit(7)


def bomb():
    return len(bytearray(MEMORY + 2**30))


def refuse(error):
    raise error


def fail_unpicklably():
    raise type("Local", (Exception,), {})("of a class that does not travel")


def count(to, pause=0.0):
    for k in range(to):
        time.sleep(pause)
        yield k


def large(to):
    for _ in range(to):
        yield bytes(20_000_000)


def reason_of(work, *arguments):
    with pytest.raises(SlideError) as error:
        run_in_subprocess(work, *arguments, timeout=60)
    return str(error.value)


@pytest.mark.parametrize(
    ("work", "arguments", "reason", "message"),
    [
        (die, [signal.SIGSEGV], "crashed", "SIGSEGV"),
        (die, [signal.SIGKILL], "crashed", "SIGKILL"),
        (leave, [], "crashed", "exit status 7"),
        (bomb, [], "out_of_memory", "GiB"),
        (time.sleep, [30], "timed_out", "stood still for 1 s"),
    ],
)
def test_what_kills_the_process_is_the_slides_failure(work, arguments, reason, message):
    with pytest.raises(SlideError, match=message) as error:
        run_in_subprocess(work, *arguments, timeout=1 if reason == "timed_out" else 60)
    assert error.value.status == reason


@pytest.mark.parametrize(
    "error", [SlideError(Status.NO_MPP, "text"), ConfigError("text"), OSError(errno.ENOSPC, "text"), KeyError("text")]
)
def test_errors_come_as_they_were_raised(error):
    with pytest.raises(type(error), match="text") as raised:
        run_in_subprocess(refuse, error, timeout=60)
    assert getattr(raised.value, "status", None) == getattr(error, "status", None)
    assert getattr(raised.value, "errno", None) == getattr(error, "errno", None)


def test_an_error_that_cannot_travel_is_still_told():
    with pytest.raises(RuntimeError, match="does not travel"):
        run_in_subprocess(fail_unpicklably, timeout=60)


def test_values_come_in_order_and_the_limit_is_for_each_alone():
    with closing(SubprocessStream(count, 5, 0.4, timeout=1.5)) as stream:
        assert list(stream) == list(range(5))  # two seconds in all


@pytest.mark.parametrize(("number", "reason"), [(signal.SIGKILL, "crashed"), (signal.SIGSTOP, "timed_out")])
def test_a_process_may_end_or_stand_still_in_the_middle_of_a_value(number, reason):
    """A chunk of tiles is far larger than a pipe: readers spend their time in sending."""
    with closing(SubprocessStream(large, 3, timeout=1)) as stream:
        assert len(next(stream)) == 20_000_000
        time.sleep(0.3)  # the next value is half sent
        os.kill(stream._process.pid, number)
        with pytest.raises(SlideError) as error:
            next(stream)
    assert error.value.status == reason


def test_reasons_are_the_same_however_many_threads_ask():
    with ThreadPoolExecutor(4) as pool:
        reasons = list(pool.map(lambda _: reason_of(die, signal.SIGSEGV), range(60)))
    assert set(reasons) == {"reading the slide ended the process that did it (SIGSEGV)"}


def test_a_process_that_stands_still_is_ended():
    with closing(SubprocessStream(count, 1000, 0.05, timeout=0.5)) as stream:
        assert next(stream) == 0
        os.kill(stream._process.pid, signal.SIGSTOP)
        with pytest.raises(SlideError, match="stood still"):
            for _ in stream:
                pass
    assert not stream._process.is_alive()
