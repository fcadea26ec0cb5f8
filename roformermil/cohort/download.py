"""Download a data set's slides, verify them, and resume a broken transfer where it ended.

The bytes received so far stay in a `.part` file beside the slide, and only the rest is requested (HTTP range requests,
RFC 9110, section 14). A downloaded file has the checksum that its source states; one that exists is compared by size.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Container
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import MaxRetryError
from urllib3.util.retry import Retry

from roformermil.cohort.slide_table import SHOWN_SLIDES, SlideRecord, failed_record
from roformermil.config.dataset import Source
from roformermil.errors import DownloadError, SlideError, Status
from roformermil.runtime.files import output_error
from roformermil.runtime.progress import track
from roformermil.runtime.text import first_lines

GDC_API = "https://api.gdc.cancer.gov"
# For a request that fails, and for a transfer that breaks without a new byte: pauses of 0, 2, 4, ... 32 seconds.
TEMPORARY = {408, 429, 500, 502, 503, 504}  # statuses of a request that may succeed later
# Any method, since the GDC is queried by POST.
RETRIES = Retry(6, backoff_factor=1, status_forcelist=TEMPORARY, allowed_methods=None, raise_on_status=False)
TIMEOUT = (30, 120)  # seconds to connect, and between two bytes
BLOCK = 2**16  # bytes; the most that a broken connection loses
NOT_THERE = {404, 410}  # statuses of a file that the server does not have
NO_BYTES_LEFT = 416  # status of a range that starts at or after the end of the file
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RemoteFile:
    """A slide at its source."""

    url: str
    md5: str = ""
    size: int | None = None  # bytes


def download_slides(records: list[SlideRecord], root: Path, source: Source, progress: bool = True) -> list[SlideRecord]:
    """Download the slides to their paths; returns their records, `missing` where the source does not have the slide.

    Raises DownloadError, once all others arrived, naming the slides whose transfer failed or whose checksum is wrong.
    """
    results, failures = [], []
    with requests.Session() as session:
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=RETRIES))
        remote_files = LISTS[source.kind](records, root, source, session)
        for record in track(records, desc="download", unit="slide", on=progress):
            try:
                if record.is_ok:
                    download_slide(record.path, remote_files.get(record.slide_id), source, session, progress)
            except SlideError as error:
                record = failed_record(record, "download", error)
            except DownloadError as error:
                failures.append(f"  {record.slide_id}: {error}")
            results.append(record)
    wanted = [result for record, result in zip(records, results, strict=True) if record.is_ok]
    if wanted and source.kind == "http" and all(result.status == Status.MISSING for result in wanted):
        raise DownloadError(f"none of {len(wanted)} slides exists at {source.url}: check the data set's source.url")
    if failures:
        # slides to download by hand are a list to work through: all are named
        lines = first_lines(failures, len(failures) if source.kind == "by_hand" else SHOWN_SLIDES)
        raise DownloadError(f"{len(failures)} of {len(records)} slides are not here yet; run again to resume:\n{lines}")
    return results


def download_slide(
    path: Path, remote: RemoteFile | None, source: Source, session: requests.Session, progress: bool = True
) -> None:
    """Download one slide to `path`, unless it is there.

    Raises SlideError `missing` when the source does not have it, DownloadError when it does not arrive, OutputError.
    """
    if path.exists() and (remote is None or remote.size in (None, path.stat().st_size)):
        return
    if source.kind == "by_hand":  # not `missing`, which would be final: the file may be there at the next run
        raise DownloadError(f"no file at {path.absolute()}: accept the terms at {source.url}, and put the file there")
    if remote is None:
        raise SlideError(Status.MISSING, f"{path.name}: the Genomic Data Commons does not list this file")
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for next_step in ("; downloading it again from the start", ""):  # kept bytes may be of another version
            _download_rest(remote, part, session, progress)
            if not remote.md5 or _file_md5(part) == remote.md5:
                part.replace(path)
                return
            part.unlink()
            log.warning("%s: wrong checksum%s", path.name, next_step)
    except OSError as error:
        raise output_error(error, path) from error
    raise DownloadError(f"{remote.url}: the bytes received do not have the checksum {remote.md5} of the source")


def _download_rest(remote: RemoteFile, part: Path, session: requests.Session, progress: bool) -> None:
    """Complete `part`, over as many connections as it takes. Raises DownloadError, SlideError `missing`."""
    retries = RETRIES
    with track(desc=part.stem[-40:], unit="B", unit_scale=True, leave=False, on=progress) as bar:
        while True:
            size_before = _size(part)
            try:
                if _append_rest(remote, part, session, bar):
                    return
                problem = "incomplete"
            except requests.RequestException as error:
                problem = type(error).__name__
            retries = _wait_to_retry(RETRIES if _size(part) > size_before else retries, remote.url, problem)


def _append_rest(remote: RemoteFile, part: Path, session: requests.Session, bar: Any) -> bool:
    """Append what one connection delivers to `part`; whether that completes it. Raises RequestException when it breaks.

    `part` is removed when it is larger than the file: its bytes are then of another version.
    """
    kept = _size(part)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={kept}-"} if kept else {})
    with _request(session, "GET", remote.url, accept={*NOT_THERE, NO_BYTES_LEFT}, headers=headers) as response:
        if response.status_code in NOT_THERE:
            raise SlideError(Status.MISSING, f"{remote.url}: no such file ({response.status_code} {response.reason})")
        if response.status_code == NO_BYTES_LEFT:
            if response.headers.get("Content-Range", "").endswith(f"/{kept}"):
                return True
            part.unlink()
            return False
        kept = kept if response.status_code == 206 else 0  # a server that ignores ranges sends the whole file
        length = response.headers.get("Content-Length")
        bar.total = total = remote.size or (kept + int(length) if length else None)
        bar.n = kept
        with open(part, "ab" if kept else "wb") as file:
            for block in response.iter_content(BLOCK):
                file.write(block)
                bar.update(len(block))
    if total is not None and _size(part) > total:
        part.unlink()
        return False
    return total is None or _size(part) == total


Files = dict[str, RemoteFile]  # by slide_id


def _list_gdc_files(records: list[SlideRecord], root: Path, source: Source, session: requests.Session) -> Files:
    """TCGA's slides, found by file name (docs.gdc.cancer.gov, API, search and retrieval)."""
    api = source.url or GDC_API
    slide_ids = {record.path.name: record.slide_id for record in records if record.is_ok}
    filters = {"op": "in", "content": {"field": "file_name", "value": list(slide_ids)}}
    fields = {"fields": "file_id,file_name,md5sum,file_size", "format": "JSON", "size": len(slide_ids)}
    hits = json.loads(_read_list(session, "POST", f"{api}/files", json={"filters": filters} | fields))["data"]["hits"]
    return {
        slide_ids[hit["file_name"]]: RemoteFile(f"{api}/data/{hit['file_id']}", hit["md5sum"], hit["file_size"])
        for hit in hits
    }


def _list_http_files(records: list[SlideRecord], root: Path, source: Source, session: requests.Session) -> Files:
    """Files below an address, with their checksums where the source has a list of them."""
    checksums = _read_checksums(source.checksums, session) if source.checksums else {}
    remote_files = {}
    for record in filter(lambda record: record.is_ok, records):
        path = Path(os.path.relpath(record.path, root)).as_posix()
        if checksums and record.path.name not in checksums:
            log.warning("%s: not in the list of checksums %s; only its size is checked", path, source.checksums)
        url = f"{source.url.rstrip('/')}/{quote(path)}"
        remote_files[record.slide_id] = RemoteFile(url, checksums.get(record.path.name, ""))
    return remote_files


def _read_checksums(url: str, session: requests.Session) -> dict[str, str]:
    """Checksums by file name, from a list as `md5sum` writes it."""
    lines = (line.split(maxsplit=1) for line in _read_list(session, "GET", url).decode(errors="replace").splitlines())
    return {Path(parts[1].lstrip("*")).name: parts[0].lower() for parts in lines if len(parts) == 2}


LISTS: dict[str, Callable[..., Files]] = {"gdc": _list_gdc_files, "http": _list_http_files, "by_hand": lambda *_: {}}


def _read_list(session: requests.Session, method: str, url: str, **options: Any) -> bytes:
    """What the source says about its files. Raises DownloadError when that does not arrive."""
    retries = RETRIES
    while True:
        try:
            return _request(session, method, url, **options).content
        except DownloadError as error:
            raise DownloadError(f"the list of the slides' files did not arrive: {error}") from error
        except requests.RequestException as error:
            retries = _wait_to_retry(retries, url, type(error).__name__)


def _request(
    session: requests.Session, method: str, url: str, accept: Container[int] = (), **options: Any
) -> requests.Response:
    """The response, its body not read yet; failed requests are repeated by the session.

    Raises DownloadError for an error status that is not in `accept`, or when no response arrives.
    """
    try:
        response = session.request(method, url, stream=True, timeout=TIMEOUT, **options)
        if response.status_code not in accept:
            response.raise_for_status()
    except requests.HTTPError as error:
        refused = error.response.status_code < 500 and error.response.status_code != 429
        advice = "check the data set's source.url, and that you have access to it" if refused else "try again later"
        raise DownloadError(f"{error}: {advice}") from error
    except requests.RequestException as error:
        raise DownloadError(f"{url}: {error}") from error
    return response


def _wait_to_retry(retries: Retry, url: str, problem: str) -> Retry:
    """The retries left, after a pause. Raises DownloadError when there are none."""
    error = DownloadError(f"{url}: the transfer broke ({problem})")
    try:
        retries = retries.increment("GET", url, error=error)
    except MaxRetryError:
        raise error from None
    log.warning("%s; trying again", error)
    retries.sleep()
    return retries


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _file_md5(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
