"""Slides from real servers on this machine: an S3 (moto), and an HTTP server in the place of the GDC that breaks transfers."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3
import numpy as np
import pytest
import requests
from moto.server import ThreadedMotoServer

from roformermil.cohort import download as module
from roformermil.cohort.download import download_slides
from roformermil.cohort.slide_table import SlideRecord
from roformermil.config import Source
from roformermil.errors import DownloadError

BUCKET = "camelyon-dataset"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(module, "PAUSE", 0.01)


@pytest.fixture(scope="module")
def content(slide) -> bytes:
    """More than one block: a slide and what does not compress."""
    return slide.read_bytes() + np.random.default_rng(0).bytes(5_000_000)


@pytest.fixture
def gdc(content):
    """gdc(name=content, ...): the address of an API that lists these files. Its data endpoint hangs up after 2,000,000 bytes of
    each answer, as often as `breaks` says, and knows ranges when `ranges` is set."""
    servers = []

    def start(files: dict[str, bytes], breaks: int = 0, ranges: bool = True, lie: bool = False, busy=0, code=404):
        state = {"breaks": breaks, "asked": [], "busy": busy}

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                if state["busy"]:
                    state["busy"] -= 1
                    self.rfile.read(int(self.headers["Content-Length"]))
                    return self.answer(503, b"")
                query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                names = query["filters"]["content"]["value"]
                hits = [
                    {"file_id": name, "file_name": name, "file_size": len(data),
                     "md5sum": hashlib.md5(data[::-1] if lie else data).hexdigest()}
                    for name, data in files.items() if name in names
                ]  # fmt: skip
                self.answer(200, json.dumps({"data": {"hits": hits}}).encode())

            def do_GET(self):
                if (data := files.get(Path(self.path).name)) is None:
                    return self.answer(code, b"")
                asked = self.headers.get("Range")
                state["asked"].append(asked)
                start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and ranges else 0
                self.answer(206 if start else 200, data[start:], cut=state["breaks"] > 0)
                state["breaks"] -= 1

            def answer(self, code, data, cut=False):
                self.send_response(code)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data[:2_000_000] if cut else data)
                self.close_connection = cut

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}", state

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def rows_in(root: Path, *names: str) -> list[SlideRecord]:
    return [SlideRecord(Path(name).stem, str(root / name)) for name in names]


def test_a_broken_transfer_goes_on_where_it_ended(gdc, content, tmp_path):
    url, state = gdc({"a.svs": content}, breaks=2)
    rows = download_slides(rows_in(tmp_path, "a.svs"), tmp_path, Source(kind="gdc", url=url), progress=False)
    assert [row.status for row in rows] == ["ok"]
    assert (tmp_path / "a.svs").read_bytes() == content
    first, *later = state["asked"]
    begins = [int(asked.removeprefix("bytes=").rstrip("-")) for asked in later]
    assert first is None
    assert [
        2_000_000 - module.BLOCK < begins[0] <= 2_000_000,
        4_000_000 - 2 * module.BLOCK < begins[1] <= 4_000_000,
    ] == [True] * 2


def test_a_server_without_ranges_starts_again(gdc, content, tmp_path):
    url, _ = gdc({"a.svs": content}, breaks=1, ranges=False)
    download_slides(rows_in(tmp_path, "a.svs"), tmp_path, Source(kind="gdc", url=url), progress=False)
    assert (tmp_path / "a.svs").read_bytes() == content


def test_what_a_killed_run_left_is_not_fetched_again(gdc, content, tmp_path):
    (tmp_path / "a.svs.part").write_bytes(content[:3_000_000])
    url, state = gdc({"a.svs": content})
    download_slides(rows_in(tmp_path, "a.svs"), tmp_path, Source(kind="gdc", url=url), progress=False)
    assert state["asked"] == ["bytes=3000000-"]
    assert (tmp_path / "a.svs").read_bytes() == content


def test_wrong_bytes_are_found_by_their_checksum_and_fetched_anew(gdc, content, tmp_path):
    (tmp_path / "a.svs.part").write_bytes(b"x" * 1000)
    url, state = gdc({"a.svs": content})
    download_slides(rows_in(tmp_path, "a.svs"), tmp_path, Source(kind="gdc", url=url), progress=False)
    assert state["asked"] == ["bytes=1000-", None]
    assert (tmp_path / "a.svs").read_bytes() == content


def test_a_checksum_that_never_fits_is_an_error_and_leaves_no_slide(gdc, content, tmp_path):
    url, _ = gdc({"a.svs": content}, lie=True)
    with pytest.raises(DownloadError, match=r"1 of 1 slides are not here(?s:.*)a: .*do not have the checksum"):
        download_slides(rows_in(tmp_path, "a.svs"), tmp_path, Source(kind="gdc", url=url), progress=False)
    assert list(tmp_path.iterdir()) == []


def test_a_slide_that_the_gdc_does_not_list_is_a_row(gdc, content, tmp_path):
    url, _ = gdc({"a.svs": content})
    rows = download_slides(
        rows_in(tmp_path, "a.svs", "gone.svs"), tmp_path, Source(kind="gdc", url=url), progress=False
    )
    assert [row.status for row in rows] == ["ok", "missing"]


def test_a_broken_list_of_files_is_asked_for_again_and_then_named(gdc, content, tmp_path):
    source = Source(kind="gdc", url="http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(DownloadError, match=r"127.0.0.1:9/files: the list of slides cannot be had"):
        download_slides(rows_in(tmp_path, "a.svs"), tmp_path, source, progress=False)
    url, state = gdc({"a.svs": content}, busy=2)
    download_slides(rows_in(tmp_path, "a.svs"), tmp_path, Source(kind="gdc", url=url), progress=False)
    assert state["busy"] == 0 and (tmp_path / "a.svs").read_bytes() == content


@pytest.mark.parametrize("code", [403, 404])
def test_an_address_that_has_no_slide_at_all_is_an_error_and_no_verdict_on_slides(gdc, code, tmp_path):
    url, _ = gdc({}, code=code)
    source = Source(kind="http", url=f"{url}/wrong")
    with pytest.raises(DownloadError, match="is the data set's source.url right"):
        download_slides(rows_in(tmp_path, "a.svs", "b.svs"), tmp_path, source, progress=False)


def test_a_second_run_fetches_nothing(gdc, content, tmp_path):
    url, state = gdc({"a.svs": content})
    for _ in range(2):
        download_slides(rows_in(tmp_path, "a.svs"), tmp_path, Source(kind="gdc", url=url), progress=False)
    assert len(state["asked"]) == 1


@pytest.fixture(scope="module")
def s3():
    """A bucket as Camelyon16's: `put(key, data)` and its address."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    client = boto3.client(
        "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    client.create_bucket(Bucket=BUCKET)
    yield lambda key, data: client.put_object(Bucket=BUCKET, Key=key, Body=data, ACL="public-read"), f"{url}/{BUCKET}"
    server.stop()


def recording(get, asked):
    """`requests.Session.get`, noting what ranges it asks for."""

    def call(self, url, **options):
        asked.append((url.rpartition("/")[2], options.get("headers", {}).get("Range")))
        return get(self, url, **options)

    return call


def test_slides_of_a_bucket_with_its_list_of_checksums(s3, content, tmp_path, monkeypatch):
    put, url = s3
    put("CAMELYON16/images/normal_001.tif", content)
    put("CAMELYON16/checksums.md5", f"{hashlib.md5(content).hexdigest()} *images/normal_001.tif\n".encode())
    (tmp_path / "normal_001.tif.part").write_bytes(content[:1_000_000])
    asked = []
    monkeypatch.setattr(requests.Session, "get", recording(requests.Session.get, asked))
    source = Source(kind="http", url=f"{url}/CAMELYON16/images", checksums=f"{url}/CAMELYON16/checksums.md5")
    rows = download_slides(rows_in(tmp_path, "normal_001.tif", "normal_999.tif"), tmp_path, source, progress=False)
    assert [row.status for row in rows] == ["ok", "missing"]
    assert (tmp_path / "normal_001.tif").read_bytes() == content
    assert asked == [("normal_001.tif", "bytes=1000000-"), ("normal_999.tif", None)]  # the bucket sent the rest alone


@pytest.mark.shared
def test_a_real_slide_comes_over_a_connection_that_breaks_three_times(shared, gdc, tmp_path):
    real = shared / "slides/CMU-1-Small-Region.svs"
    data = real.read_bytes()
    url, state = gdc({real.name: data * 5}, breaks=3)  # five times a small slide: longer than a connection lasts
    download_slides(rows_in(tmp_path, real.name), tmp_path, Source(kind="gdc", url=url), progress=False)
    assert (tmp_path / real.name).read_bytes() == data * 5
    assert len(state["asked"]) == 4 and None not in state["asked"][1:]


@pytest.mark.shared
def test_a_real_slide_comes_through_a_bucket(shared, s3, tmp_path):
    real = shared / "slides/CMU-1-Small-Region.svs"
    put, url = s3
    put(f"slides/{real.name}", real.read_bytes())
    put("slides/md5", f"{hashlib.md5(real.read_bytes()).hexdigest()}  {real.name}\n".encode())
    source = Source(kind="http", url=f"{url}/slides", checksums=f"{url}/slides/md5")
    download_slides(rows_in(tmp_path, real.name), tmp_path, source, progress=False)
    assert (tmp_path / real.name).read_bytes() == real.read_bytes()


def test_slides_behind_terms_are_named_with_the_page(tmp_path):
    source = Source(kind="by_hand", url="https://example.org/terms")
    with pytest.raises(DownloadError, match="get it by the terms at https://example.org/terms"):
        download_slides(rows_in(tmp_path, "a.svs"), tmp_path, source, progress=False)
    (tmp_path / "a.svs").touch()
    assert download_slides(rows_in(tmp_path, "a.svs"), tmp_path, source, progress=False)[0].status == "ok"
