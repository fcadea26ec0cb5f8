"""SIGTERM to a command and to all its processes, as a scheduler sends it."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path


def terminate_while_waiting(command: Sequence[str | Path]) -> None:
    """Start a job whose results another run is writing, which ends it at once."""
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr and any("another run is writing here" in line for line in process.stderr)
        process.terminate()
        assert process.wait(timeout=30) == -signal.SIGTERM
    finally:
        process.kill()


def terminate(command: Sequence[str | Path], when: Callable[[], bool]) -> str:
    """What the command prints that gets SIGTERM as soon as `when` holds."""
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    end = time.monotonic() + 120
    while not when() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGTERM)
    printed = process.communicate(timeout=120)[1]
    assert process.returncode == 128 + signal.SIGTERM, printed
    assert "ended by SIGTERM" in printed and "Traceback" not in printed and "crashed" not in printed
    return printed
