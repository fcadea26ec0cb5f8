"""SIGTERM, which a scheduler sends some time before it kills a job: at its time limit, or to run another job first."""

import signal
import threading

from roformermil.errors import TerminatedError

_requested = threading.Event()


def finish_before_ending() -> None:
    """From now on SIGTERM does not end this process at once: its work ends at the next `end_if_requested`."""
    signal.signal(signal.SIGTERM, lambda *_: _requested.set())


def end_is_requested() -> bool:
    """Whether SIGTERM came."""
    return _requested.is_set()


def end_if_requested() -> None:
    """Raises TerminatedError after SIGTERM. Call it where what is finished is on disk."""
    if end_is_requested():
        raise TerminatedError("ended by SIGTERM, as at a time limit; what is finished is kept: run again to resume")
