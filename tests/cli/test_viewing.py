"""`roformermil view`: what it prints, and how it ends."""

import re
import signal
import socket
import subprocess
import sys
from urllib.request import urlopen

import pytest
from typer.testing import CliRunner

from roformermil.cli import app
from roformermil.errors import ConfigError
from tests.factories import SimulatedRun


@pytest.fixture
def results(tmp_path):
    run = SimulatedRun(tmp_path / "results")
    run.add_model("mine", run.add_dataset("mine", ["a", "b"]), ["a", "b"])
    return run.folder


def test_it_prints_its_address_serves_and_ends_with_one_line(results):
    command = [sys.executable, "-m", "roformermil", "view", str(results), "--port", "0", "--no-browser"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        lines = []
        while not (address := re.search(r"24 slides at (http://127\.0\.0\.1:\S+)", lines[-1] if lines else "")):
            lines.append(process.stderr.readline())
            assert lines[-1], lines
        with urlopen(address[1] + "run.json") as answer:
            assert b'"dataset":"mine"' in answer.read()
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 0 and rest.count("\n") == 1 and "ended" in rest


def test_a_port_in_use_is_named(results):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        answer = CliRunner().invoke(app, ["view", str(results), "--port", str(port), "--no-browser"])
    assert isinstance(answer.exception, ConfigError) and f"--port {port}: Address already in use" in str(
        answer.exception
    )


def test_its_help_has_an_example():
    assert "roformermil view results/mine" in CliRunner().invoke(app, ["view", "--help"]).output
