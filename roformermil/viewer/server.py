"""The viewer's server: on this machine only, read-only, and for nothing but the page and the slides of its views.

Its address contains a random token, since other users of the machine can connect to it too.
"""

import json
import logging
import re
import secrets
from collections.abc import Callable, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from PIL import Image

from roformermil.errors import SlideError
from roformermil.viewer.answers import describe_run, describe_slide, describe_view, open_slide
from roformermil.viewer.pixels import OpenSlides
from roformermil.viewer.views import View

ADDRESS = "127.0.0.1"
HOSTS = ("127.0.0.1", "localhost")  # a page of another name that resolves to this machine is refused (DNS rebinding)
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
STATIC = Path(__file__).with_name("static")
HEADERS = {
    "Cache-Control": "no-store",  # pictures of patients stay out of the browser's cache on disk
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
THUMBNAIL_PX = 96
SLIDE = r"views/(\d+)/slides/([^/]+)"
log = logging.getLogger(__name__)
Answer = tuple[str, bytes]  # content type, content


class ViewerServer(ThreadingHTTPServer):
    """Serves views at `url` once `serve_forever` runs. port: 0 for any that is free. Raises OSError where it is taken."""

    daemon_threads = True

    def __init__(self, folder: Path, views: Sequence[View], port: int = 0):
        super().__init__((ADDRESS, port), _Handler)
        self.folder, self.views, self.opened = folder, views, OpenSlides()
        self.token = secrets.token_urlsafe(12)
        files = [path for path in STATIC.iterdir() if path.suffix in TYPES]
        self.files = {path.name: (TYPES[path.suffix], path.read_bytes()) for path in files}

    @property
    def url(self) -> str:
        return f"http://{ADDRESS}:{self.server_port}/{self.token}/"

    def answer(self, path: str) -> Answer:
        """The answer to a path after the token. Raises LookupError or ValueError for one that is not served; SlideError."""
        for pattern, find in ROUTES:
            if match := re.fullmatch(pattern, path):
                return find(self, *(unquote(part) for part in match.groups()))
        raise LookupError(path)

    def page(self) -> Answer:
        return self.files["index.html"]

    def static(self, name: str) -> Answer:
        return self.files[name]

    def run(self) -> Answer:
        return _to_json(describe_run(self.folder, self.views))

    def view(self, view: str) -> Answer:
        return _to_json(describe_view(self.views[int(view)]))

    def slide(self, view: str, slide_id: str) -> Answer:
        shown = self.views[int(view)]
        return _to_json(describe_slide(shown, shown.slides[slide_id], self.opened))

    def tile(self, view: str, slide_id: str, *place: str) -> Answer:
        """place: Deep Zoom level, column and row."""
        return self._read(view, slide_id, lambda image: image.tile(*map(int, place)))

    def region(self, view: str, slide_id: str, *place: str) -> Answer:
        """place: x, y and side in level-0 pixels."""
        return self._read(view, slide_id, lambda image: image.region(*map(int, place)))

    def thumbnail(self, view: str, slide_id: str) -> Answer:
        """The slide with its tissue's outline, small."""
        shown = self.views[int(view)]
        name = shown.slides[slide_id].record.slide_id
        try:
            with Image.open(shown.tissue / f"{name}.jpg") as image:
                image.draft("RGB", (THUMBNAIL_PX, THUMBNAIL_PX))
                image.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
                buffer = BytesIO()
                image.convert("RGB").save(buffer, "JPEG", quality=85)
        except OSError as error:
            raise LookupError(name) from error
        return "image/jpeg", buffer.getvalue()

    def _read(self, view: str, slide_id: str, read: Callable[[Any], bytes]) -> Answer:
        shown = self.views[int(view)]
        slide = shown.slides[slide_id]
        try:
            return "image/jpeg", read(open_slide(shown, slide, self.opened))
        except SlideError:
            self.opened.forget(slide.record)
            raise


ROUTES: list[tuple[str, Callable[..., Answer]]] = [
    ("", ViewerServer.page),
    (r"static/([\w.-]+)", ViewerServer.static),
    (r"run\.json", ViewerServer.run),
    (r"views/(\d+)\.json", ViewerServer.view),
    (rf"{SLIDE}\.json", ViewerServer.slide),
    (rf"{SLIDE}/thumbnail\.jpg", ViewerServer.thumbnail),
    (rf"{SLIDE}/(\d+)/(\d+)_(\d+)\.jpg", ViewerServer.tile),
    (rf"{SLIDE}/regions/(\d+)_(\d+)_(\d+)\.jpg", ViewerServer.region),
]

WRONG_ADDRESS = b"open the address that roformermil view printed"


class _Handler(BaseHTTPRequestHandler):
    """GET alone: any other method is refused by the base class (501)."""

    server: ViewerServer
    protocol_version = "HTTP/1.1"  # keeps a connection for the next tile
    timeout = 30  # seconds that an unused connection remains open

    def do_GET(self) -> None:
        if self.headers.get("Host", "").rsplit(":", 1)[0] not in HOSTS:
            return self._send(HTTPStatus.FORBIDDEN, "text/plain", WRONG_ADDRESS)
        token, slash, path = urlsplit(self.path).path.removeprefix("/").partition("/")
        if not (slash and secrets.compare_digest(token.encode(), self.server.token.encode())):
            return self._send(HTTPStatus.NOT_FOUND, "text/plain", WRONG_ADDRESS)
        try:
            kind, content = self.server.answer(path)
            self._send(HTTPStatus.OK, kind, content)
        except (LookupError, ValueError):
            self._send(HTTPStatus.NOT_FOUND, "text/plain", b"not found")
        except SlideError as error:
            self._send(HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain; charset=utf-8", str(error).encode())

    def _send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        try:
            self.send_response(status)
            for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **HEADERS}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)
        except (BrokenPipeError, ConnectionResetError):  # the browser no longer wants it
            self.close_connection = True

    def log_message(self, format: str, *arguments: Any) -> None:
        log.debug(format, *arguments)


def _to_json(value: Any) -> Answer:
    return "application/json", json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
