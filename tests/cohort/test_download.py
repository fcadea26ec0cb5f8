"""Slides from real servers on this machine: an S3 (moto), and an HTTP server for the GDC's that breaks transfers."""

import hashlib
from contextlib import ExitStack
from pathlib import Path

import boto3
import numpy as np
import pytest
import requests
from moto.server import ThreadedMotoServer

from roformermil.cohort import download as module
from roformermil.cohort.download import download_slides
from roformermil.cohort.slide_table import SlideRecord
from roformermil.config.dataset import Source
from roformermil.errors import DownloadError
from tests.factories import SimulatedGdc, serve_gdc


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(module, "RETRIES", module.RETRIES.new(backoff_factor=0))


@pytest.fixture(scope="module")
def content(slide) -> bytes:
    """More than one block: a slide and what does not compress."""
    return slide.read_bytes() + np.random.default_rng(0).bytes(5_000_000)


@pytest.fixture
def gdc(tmp_path, content):
    """gdc(...): a SimulatedGdc with a slide a.svs, and a function that downloads slides, compares them, returns statuses."""
    with ExitStack() as servers:

        def start(**behaviour):
            gdc = SimulatedGdc({"a.svs": content}, **behaviour)
            source = Source(kind="gdc", url=servers.enter_context(serve_gdc(gdc)))

            def get(*names: str) -> list[str]:
                statuses = download(tmp_path, source, *names)
                for name, status in zip(names, statuses, strict=True):
                    assert status != "ok" or (tmp_path / name).read_bytes() == gdc.files[name]
                return statuses

            return gdc, get

        yield start


def download(root: Path, source: Source, *names: str) -> list[str]:
    """Statuses of the slides after their download."""
    records = [SlideRecord(Path(name).stem, root / name) for name in names]
    return [str(record.status) for record in download_slides(records, root, source, progress=False)]


def test_a_broken_transfer_resumes_where_it_ended(gdc, monkeypatch):
    monkeypatch.setattr(module, "RETRIES", module.RETRIES.new(total=1))  # at most one attempt without progress may fail
    server, get = gdc(broken_downloads=2)
    assert get("a.svs") == ["ok"]
    first, *later = server.requested_ranges
    starts = [int(requested.removeprefix("bytes=").rstrip("-")) for requested in later]
    assert first is None and len(starts) == 2
    assert 2_000_000 - module.BLOCK < starts[0] <= 2_000_000
    assert 4_000_000 - 2 * module.BLOCK < starts[1] <= 4_000_000


def test_from_a_server_without_ranges_files_start_over_and_a_transfer_without_progress_is_given_up(gdc, tmp_path):
    server, get = gdc(broken_downloads=1000, knows_ranges=False)
    with pytest.raises(DownloadError, match=r"1 of 1 .* run again to resume:(?s:.*)a: http.*the transfer broke"):
        get("a.svs")
    assert len(server.requested_ranges) == 1 + module.RETRIES.total, "only the first made progress"
    assert (tmp_path / "a.svs.part").stat().st_size <= 2_000_000, "is kept for the next run"
    assert gdc(broken_downloads=1, knows_ranges=False)[1]("a.svs") == ["ok"]


@pytest.mark.parametrize(("kept", "added"), [(3_000_000, b""), (0, b"x" * 1000), (None, b""), (None, b"x" * 10)])
def test_a_part_is_completed_where_its_checksum_fits_and_replaced_where_not(gdc, content, tmp_path, kept, added):
    part = content[:kept] + added  # of a killed run, with wrong bytes, complete, larger than the file
    (tmp_path / "a.svs.part").write_bytes(part)
    server, get = gdc()
    assert get("a.svs") == ["ok"]
    assert server.requested_ranges == [f"bytes={len(part)}-"] + [None] * bool(added)


def test_a_checksum_that_never_fits_is_an_error_and_leaves_no_slide(gdc, tmp_path):
    _, get = gdc(wrong_checksums=True)
    with pytest.raises(DownloadError, match=r"1 of 1 slides are not here yet(?s:.*)a: .*do not have the checksum"):
        get("a.svs")
    assert list(tmp_path.iterdir()) == []


def test_a_list_of_files_is_requested_again_and_named_where_it_never_arrives(gdc, tmp_path):
    server, get = gdc(failed_listings=2, broken_listings=1)
    assert (get("a.svs"), server.failed_listings, server.broken_listings) == (["ok"], 0, -1)
    source = Source(kind="gdc", url="http://127.0.0.1:9")  # where no server listens
    with pytest.raises(DownloadError, match=r"the list of the slides' files did not arrive: http://127.0.0.1:9/files"):
        download(tmp_path, source, "b.svs")


@pytest.mark.parametrize("status", [403, 404])
def test_an_address_without_any_slide_is_an_error_and_no_verdict_on_slides(status, tmp_path):
    error = pytest.raises(DownloadError, match="check the data set's source.url")
    with serve_gdc(SimulatedGdc({}, unknown_file_status=status)) as url, error:
        download(tmp_path, Source(kind="http", url=f"{url}/wrong"), "a.svs", "b.svs")


def test_a_second_run_downloads_nothing_and_a_slide_that_the_gdc_does_not_list_is_missing(gdc):
    server, get = gdc()
    assert [get("a.svs", "gone.svs"), get("a.svs")] == [["ok", "missing"], ["ok"]]
    assert len(server.requested_ranges) == 1


@pytest.fixture(scope="module")
def s3():
    """A public bucket: `put(key, data)` and its address."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    access = {"region_name": "us-east-1", "aws_access_key_id": "x", "aws_secret_access_key": "x"}
    client = boto3.client("s3", endpoint_url=url, **access)
    client.create_bucket(Bucket="slides")
    yield lambda key, data: client.put_object(Bucket="slides", Key=key, Body=data, ACL="public-read"), f"{url}/slides"
    server.stop()


def test_slides_of_a_bucket_with_its_list_of_checksums(s3, content, tmp_path, monkeypatch):
    put, url = s3
    put("images/normal_001.tif", content)
    put("images/normal_002.tif", b"small")
    digests = hashlib.md5(content).hexdigest(), hashlib.md5(b"small").hexdigest()
    lines = "{} *images/normal_001.tif\n{}  normal_002.tif\n".format(*digests)  # both forms that md5sum writes
    put("checksums.md5", lines.encode())
    (tmp_path / "normal_001.tif.part").write_bytes(content[:1_000_000])
    requested, request = [], requests.Session.request

    def recording(self, method, url, **options):
        requested.append((url.rpartition("/")[2], options.get("headers", {}).get("Range")))
        return request(self, method, url, **options)

    monkeypatch.setattr(requests.Session, "request", recording)
    source = Source(kind="http", url=f"{url}/images", checksums=f"{url}/checksums.md5")
    (tmp_path / "normal_002.tif.part").write_bytes(b"wrong")  # as long as the file: only its checksum differs
    names = ["normal_001.tif", "normal_002.tif", "normal_999.tif"]
    assert download(tmp_path, source, *names) == ["ok", "ok", "missing"]
    assert [(tmp_path / name).read_bytes() for name in names[:2]] == [content, b"small"]
    expected = [("normal_001.tif", "bytes=1000000-"), ("normal_002.tif", "bytes=5-"), ("normal_002.tif", None)]
    assert requested == [("checksums.md5", None), *expected, ("normal_999.tif", None)]


def test_slides_behind_terms_are_named_with_the_page(tmp_path):
    source = Source(kind="by_hand", url="https://a.org/terms")
    with pytest.raises(DownloadError, match=f"no file at {tmp_path}/a.svs: accept the terms at https://a.org/terms"):
        download(tmp_path, source, "a.svs")
    (tmp_path / "a.svs").touch()
    assert download(tmp_path, source, "a.svs") == ["ok"]
