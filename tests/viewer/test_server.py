"""The viewer's server gives the page, the slides of its views, and nothing else, to this machine alone."""

import hashlib
import http.client
import json
import socket
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from tests.viewer.runs import serving

JPEG = b"\xff\xd8"


@pytest.fixture(scope="module")
def server(run):
    with serving(run) as server:
        yield server


def request(server, path, method="GET", host=None, token=None):
    """Status, headers and content of what the server answers to a path as it is, which clients would simplify."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    connection.putrequest(method, f"/{server.token if token is None else token}/{path}", skip_host=True)
    connection.putheader("Host", host or f"127.0.0.1:{server.server_port}")
    connection.endheaders()
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), content


def test_it_listens_on_this_machine_alone(server):
    assert server.server_address[0] == "127.0.0.1"
    assert socket.gethostbyname("localhost") == "127.0.0.1"


def test_the_page_and_its_parts(server):
    status, headers, content = request(server, "")
    assert status == 200 and headers["Content-Type"].startswith("text/html")
    for name in ("viewer.css", "viewer.js", "openseadragon.min.js", "icon.svg"):
        assert f"static/{name}".encode() in content
        assert request(server, f"static/{name}")[0] == 200
    assert headers["Cache-Control"] == "no-store" and "default-src 'self'" in headers["Content-Security-Policy"]


def test_the_licence_of_openseadragon_is_beside_it():
    static = Path(__file__).parents[2] / "roformermil/viewer/static"
    assert "CodePlex Foundation" in (static / "openseadragon.LICENSE.txt").read_text()
    assert (static / "openseadragon.min.js").read_text().startswith("//! openseadragon 6.1.1")


def test_slides(server):
    assert json.loads(request(server, "run.json")[2])["name"] == "results"
    assert len(json.loads(request(server, "views/0.json")[2])["slides"]) == 12
    slide = json.loads(request(server, "views/0/slides/s0.json")[2])
    assert slide["image"]["width"] == 1500
    for path in ("9/0_0.jpg", "11/2_1.jpg", "regions/256_256_256.jpg"):
        status, headers, content = request(server, f"views/0/slides/s0/{path}")
        assert (status, headers["Content-Type"], content[:2]) == (200, "image/jpeg", JPEG)
    thumbnail = Image.open(BytesIO(request(server, "views/0/slides/s0/thumbnail.jpg")[2]))
    assert max(thumbnail.size) == 96


@pytest.mark.parametrize("path", [
    "../../etc/passwd", "static/../server.py", "static/%2e%2e/server.py", "static/..%2fserver.py", "static//etc/passwd",
    "static/__init__.py", "static/openseadragon.LICENSE.txt", "slides.csv", "views/0/slides/../../summary.csv",
    "views/0/slides/..%2f..%2fsummary.json", "views/0/slides/%2e%2e.json", "views/0/slides/s99.json", "views/9.json",
    "views/-1.json", "views/0/slides/s0/99/0_0.jpg", "views/0/slides/s0/9/7_7.jpg", "views/0/slides/s0/regions/0_0_99999.jpg",
    "views/0/slides/s7/thumbnail.jpg", "views/0/slides/s0/thumbnail.jpg/../../../../summary.csv", "//127.0.0.1/run.json",
])  # fmt: skip
def test_nothing_else_is_served(server, path):
    status, _, content = request(server, path)
    assert (status, content) == (404, b"not found")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8790", "127.0.0.1.evil.example", "0.0.0.0", "[::1]", ""]
)
def test_pages_of_other_names_are_refused(server, host):
    for path in ("", "run.json", "views/0/slides/s0/9/0_0.jpg"):
        assert request(server, path, host=host or " ")[0] == 403
    assert request(server, "run.json", host="localhost:1234")[0] == 200  # an ssh tunnel's port


@pytest.mark.parametrize("token", ["", "wrong", "..", "%2e%2e"])
def test_the_address_must_have_the_token(server, token):
    assert request(server, "run.json", token=token)[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_changed(server, method):
    assert request(server, "run.json", method)[0] == 501


def test_a_file_that_cannot_be_read_is_an_answer(server):
    status, _, content = request(server, "views/0/slides/s7/9/0_0.jpg")
    assert status == 500 and b"s7.svs: no such file" in content
    assert request(server, "run.json")[0] == 200


def test_looking_changes_no_file(run):
    def state():
        files = sorted(path for path in run.parent.rglob("*") if path.is_file())
        return {path: (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest()) for path in files}

    before = state()
    with serving(run) as server:
        for path in ("run.json", "views/0.json", "views/1/slides/s1.json", "views/0/slides/s0/9/0_0.jpg"):
            assert request(server, path)[0] == 200
        request(server, "views/0/slides/s0/thumbnail.jpg")
    assert state() == before
