"""Slides from real servers on this machine: an S3 (moto), and an HTTP server in the place of the GDC that breaks
transfers."""

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

BUCKET = "camelyon-dataset"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(module, "RETRIES", module.RETRIES.new(backoff_factor=0))


@pytest.fixture(scope="module")
def content(slide) -> bytes:
    """More than one block: a slide and what does not compress."""
    return slide.read_bytes() + np.random.default_rng(0).bytes(5_000_000)


@pytest.fixture
def gdc(tmp_path):
    """gdc(files, ...): a SimulatedGdc, and a function that downloads slides of these names from it."""
    with ExitStack() as servers:

        def start(files: dict[str, bytes], **behaviour):
            gdc = SimulatedGdc(files, **behaviour)
            source = Source(kind="gdc", url=servers.enter_context(serve_gdc(gdc)))
            return gdc, lambda *names: download(tmp_path, source, *names)

        yield start


def download(root: Path, source: Source, *names: str) -> list[str]:
    """Statuses of the slides after their download."""
    records = [SlideRecord(Path(name).stem, root / name) for name in names]
    return [str(record.status) for record in download_slides(records, root, source, progress=False)]


def test_a_broken_transfer_resumes_where_it_ended(gdc, content, tmp_path):
    server, get = gdc({"a.svs": content}, broken_downloads=2)
    assert get("a.svs") == ["ok"]
    assert (tmp_path / "a.svs").read_bytes() == content
    first, *later = server.requested_ranges
    starts = [int(requested.removeprefix("bytes=").rstrip("-")) for requested in later]
    assert first is None
    assert 2_000_000 - module.BLOCK < starts[0] <= 2_000_000
    assert 4_000_000 - 2 * module.BLOCK < starts[1] <= 4_000_000


def test_a_transfer_may_break_more_often_than_attempts_without_progress_may_fail(gdc, content, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "RETRIES", module.RETRIES.new(total=1))
    server, get = gdc({"a.svs": content}, broken_downloads=2)
    assert get("a.svs") == ["ok"]
    assert len(server.requested_ranges) == 3


def test_a_transfer_without_progress_is_given_up(gdc, content, tmp_path):
    server, get = gdc({"a.svs": content}, broken_downloads=1000, knows_ranges=False)
    with pytest.raises(
        DownloadError, match=r"1 of 1 slides are not here yet; run again to resume:(?s:.*)a: http.*the transfer broke"
    ):
        get("a.svs")
    assert len(server.requested_ranges) == 1 + module.RETRIES.total, "only the first made progress"
    assert (tmp_path / "a.svs.part").stat().st_size <= 2_000_000, "is kept for the next run"


def test_a_server_without_ranges_sends_the_file_from_the_start(gdc, content, tmp_path):
    _, get = gdc({"a.svs": content}, broken_downloads=1, knows_ranges=False)
    get("a.svs")
    assert (tmp_path / "a.svs").read_bytes() == content


def test_what_a_killed_run_received_is_not_downloaded_again(gdc, content, tmp_path):
    (tmp_path / "a.svs.part").write_bytes(content[:3_000_000])
    server, get = gdc({"a.svs": content})
    get("a.svs")
    assert server.requested_ranges == ["bytes=3000000-"]
    assert (tmp_path / "a.svs").read_bytes() == content


def test_wrong_bytes_are_recognised_by_their_checksum_and_downloaded_again(gdc, content, tmp_path):
    (tmp_path / "a.svs.part").write_bytes(b"x" * 1000)
    server, get = gdc({"a.svs": content})
    get("a.svs")
    assert server.requested_ranges == ["bytes=1000-", None]
    assert (tmp_path / "a.svs").read_bytes() == content


@pytest.mark.parametrize(("extra", "later_requests"), [(0, 0), (10, 1)], ids=["complete", "larger than the file"])
def test_a_part_without_bytes_left_is_used_or_dropped(gdc, content, tmp_path, extra, later_requests):
    (tmp_path / "a.svs.part").write_bytes(content + b"x" * extra)
    server, get = gdc({"a.svs": content})
    get("a.svs")
    assert server.requested_ranges == [f"bytes={len(content) + extra}-"] + [None] * later_requests
    assert (tmp_path / "a.svs").read_bytes() == content


def test_a_checksum_that_never_fits_is_an_error_and_leaves_no_slide(gdc, content, tmp_path):
    _, get = gdc({"a.svs": content}, wrong_checksums=True)
    with pytest.raises(DownloadError, match=r"1 of 1 slides are not here yet(?s:.*)a: .*do not have the checksum"):
        get("a.svs")
    assert list(tmp_path.iterdir()) == []


def test_a_slide_that_the_gdc_does_not_list_is_a_missing_record(gdc, content):
    _, get = gdc({"a.svs": content})
    assert get("a.svs", "gone.svs") == ["ok", "missing"]


def test_a_list_of_files_is_requested_again_until_it_arrives(gdc, content, tmp_path):
    server, get = gdc({"a.svs": content}, failed_listings=2, broken_listings=1)
    assert get("a.svs") == ["ok"]
    assert (server.failed_listings, server.broken_listings) == (0, -1)


def test_a_list_of_files_that_never_arrives_is_named(tmp_path):
    source = Source(kind="gdc", url="http://127.0.0.1:9")  # where no server listens
    with pytest.raises(DownloadError, match=r"the list of the slides' files did not arrive: http://127.0.0.1:9/files"):
        download(tmp_path, source, "a.svs")


@pytest.mark.parametrize("status", [403, 404])
def test_an_address_without_any_slide_is_an_error_and_no_verdict_on_slides(status, tmp_path):
    with (
        serve_gdc(SimulatedGdc({}, unknown_file_status=status)) as url,
        pytest.raises(DownloadError, match="check the data set's source.url"),
    ):
        download(tmp_path, Source(kind="http", url=f"{url}/wrong"), "a.svs", "b.svs")


def test_a_second_run_downloads_nothing(gdc, content):
    server, get = gdc({"a.svs": content})
    for _ in range(2):
        get("a.svs")
    assert len(server.requested_ranges) == 1


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


def test_slides_of_a_bucket_with_its_list_of_checksums(s3, content, tmp_path, monkeypatch):
    put, url = s3
    put("CAMELYON16/images/normal_001.tif", content)
    put("CAMELYON16/checksums.md5", f"{hashlib.md5(content).hexdigest()} *images/normal_001.tif\n".encode())
    (tmp_path / "normal_001.tif.part").write_bytes(content[:1_000_000])
    requested, request = [], requests.Session.request

    def recording(self, method, url, **options):
        requested.append((url.rpartition("/")[2], options.get("headers", {}).get("Range")))
        return request(self, method, url, **options)

    monkeypatch.setattr(requests.Session, "request", recording)
    source = Source(kind="http", url=f"{url}/CAMELYON16/images", checksums=f"{url}/CAMELYON16/checksums.md5")
    assert download(tmp_path, source, "normal_001.tif", "normal_999.tif") == ["ok", "missing"]
    assert (tmp_path / "normal_001.tif").read_bytes() == content
    assert requested == [("checksums.md5", None), ("normal_001.tif", "bytes=1000000-"), ("normal_999.tif", None)]


@pytest.mark.shared
def test_a_real_slide_arrives_over_a_connection_that_breaks_three_times(shared, gdc, tmp_path):
    real = shared / "slides/CMU-1-Small-Region.svs"
    data = real.read_bytes() * 5  # longer than a connection lasts
    server, get = gdc({real.name: data}, broken_downloads=3)
    get(real.name)
    assert (tmp_path / real.name).read_bytes() == data
    assert len(server.requested_ranges) == 4 and None not in server.requested_ranges[1:]


@pytest.mark.shared
def test_a_real_slide_arrives_from_a_bucket(shared, s3, tmp_path):
    real = shared / "slides/CMU-1-Small-Region.svs"
    put, url = s3
    put(f"slides/{real.name}", real.read_bytes())
    put("slides/md5", f"{hashlib.md5(real.read_bytes()).hexdigest()}  {real.name}\n".encode())
    download(tmp_path, Source(kind="http", url=f"{url}/slides", checksums=f"{url}/slides/md5"), real.name)
    assert (tmp_path / real.name).read_bytes() == real.read_bytes()


def test_slides_behind_terms_are_named_with_the_page(tmp_path):
    source = Source(kind="by_hand", url="https://example.org/terms")
    with pytest.raises(
        DownloadError, match=f"no file at {tmp_path}/a.svs: accept the terms at https://example.org/terms"
    ):
        download(tmp_path, source, "a.svs")
    (tmp_path / "a.svs").touch()
    assert download(tmp_path, source, "a.svs") == ["ok"]
