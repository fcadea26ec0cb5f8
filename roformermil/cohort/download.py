"""Bring a data set's slides to this machine: whole, checked, and going on where a broken transfer ended.

Slides are gigabytes, so what has arrived of one is kept beside its place (`.part`) and the rest is asked for (HTTP range
requests, RFC 9110, section 14). A file that was brought has the checksum that its source states; one that was there before is
compared by its size where the source states one.
"""

import hashlib
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from roformermil.cohort.slide_table import SlideRecord, failed_record
from roformermil.config import Source
from roformermil.errors import DownloadError, SlideError, Status
from roformermil.runtime.files import output_error
from roformermil.runtime.progress import track

TRIES, PAUSE = 6, 1.0  # attempts a file without a byte of progress; seconds after the first, doubled each time
TIMEOUT = (30, 120)  # seconds to connect, and between two bytes
BLOCK = 2**16  # bytes; what a broken connection loses at most
SHOWN = 20  # slides that an error names
GONE = {404, 410}  # answers that say that there is no such slide
GDC = "https://api.gdc.cancer.gov"
REFUSED = {400, 401, 403}  # answers that a second try does not change, and that say nothing of the slide
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Remote:
    """A slide at its source."""

    url: str
    md5: str = ""
    size: int | None = None  # bytes


def download_slides(rows: list[SlideRecord], root: Path, source: Source, progress: bool = True) -> list[SlideRecord]:
    """Bring the slides of `rows`; returns the rows, `missing` where the source has no such slide.

    Raises DownloadError, when the others have arrived, naming slides whose transfer broke or whose bytes are wrong.
    """
    with requests.Session() as session:
        remotes = SOURCES[source.kind](rows, root, source, session)
        done, broken = [], []
        for row in track(rows, desc="download", unit="slide", on=progress):
            try:
                if row.status == Status.OK:
                    fetch_slide(Path(row.path), remotes.get(row.slide_id), source, session, progress)
            except SlideError as error:
                row = failed_record(row, "download", error)
            except (DownloadError, requests.RequestException) as error:
                broken.append(f"  {row.slide_id}: {error}")
            done.append(row)
    asked = [now for was, now in zip(rows, done, strict=True) if was.status == Status.OK]
    if asked and source.kind == "http" and all(row.status == Status.MISSING for row in asked):
        raise DownloadError(f"none of {len(asked)} slides is at {source.url}: is the data set's source.url right?")
    if broken:
        most = len(broken) if source.kind == "by_hand" else SHOWN  # a list of what is to be got
        shown = "\n".join(broken[:most] + ([f"  and {len(broken) - most} more"] if len(broken) > most else []))
        raise DownloadError(f"{len(broken)} of {len(rows)} slides are not here; run again to go on:\n{shown}")
    return done


def fetch_slide(
    path: Path, remote: Remote | None, source: Source, session: requests.Session, progress: bool = True
) -> None:
    """Bring one file to `path`, unless it is there.

    Raises SlideError `missing` when the source does not have it, DownloadError when it does not arrive, OutputError.
    """
    if path.exists() and (remote is None or remote.size in (None, path.stat().st_size)):
        return
    if source.kind == "by_hand":  # no `missing`: that would be final, and the file may come tomorrow
        raise DownloadError(f"no file at {path}: get it by the terms at {source.url} and put it there")
    if remote is None:
        raise SlideError(Status.MISSING, f"{path.name}: the Genomic Data Commons lists no such file (any more)")
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for last in (False, True):  # bytes that were kept may be of another version of the file: all of it once more
            fetch(remote, part, session, progress)
            if not remote.md5 or _md5(part) == remote.md5:
                part.replace(path)
                return
            part.unlink()
            log.warning("%s: checksum differs%s", path.name, "" if last else "; once more from the start")
    except OSError as error:
        raise output_error(error, path) from error
    raise DownloadError(f"{remote.url}: its bytes do not have the checksum {remote.md5} that the source states")


def fetch(remote: Remote, part: Path, session: requests.Session, progress: bool = True) -> None:
    """Download `remote` to `part`, going on after the bytes that are there. Raises DownloadError when it cannot."""
    idle = 0
    with track(desc=part.stem[-40:], unit="B", unit_scale=True, leave=False, on=progress) as bar:
        while True:
            have = part.stat().st_size if part.exists() else 0
            try:
                if _transfer(remote, part, have, session, bar):
                    return
                problem = "the connection ended early"
            except requests.HTTPError as error:
                if error.response.status_code in GONE:
                    raise SlideError(Status.MISSING, f"{remote.url}: {error}") from error
                if error.response.status_code in REFUSED:
                    raise DownloadError(
                        f"{remote.url}: {error}; is access granted, is the data set's source.url right?"
                    ) from error
                problem = str(error)
            except requests.RequestException as error:
                problem = str(error)
            idle = 0 if part.exists() and part.stat().st_size > have else idle + 1
            if idle >= TRIES:
                raise DownloadError(f"{remote.url}: {problem}")
            log.warning("%s: %s; going on", remote.url, problem)
            time.sleep(PAUSE * 2**idle)


def _transfer(remote: Remote, part: Path, have: int, session: requests.Session, bar: Any) -> bool:
    """One connection: append what comes to `part`. True when that is the whole file."""
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    with session.get(remote.url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        if answer.status_code == 416:  # nothing after what is there: it is whole, or not of this file
            if answer.headers.get("Content-Range", "").endswith(f"/{have}"):
                return True
            part.unlink()
            return False
        answer.raise_for_status()
        kept = have if answer.status_code == 206 else 0
        length = answer.headers.get("Content-Length")
        total = remote.size or (kept + int(length) if length else None)
        bar.total, bar.n = total, kept
        with open(part, "ab" if kept else "wb") as file:
            for block in answer.iter_content(BLOCK):
                file.write(block)
                bar.update(len(block))
            size = file.tell()
    if total is not None and size > total:  # more than the file has: what was kept is not of this file
        part.unlink()
        return False
    return total is None or size == total


def _gdc(rows: list[SlideRecord], root: Path, source: Source, session: requests.Session) -> dict[str, Remote]:
    """TCGA's slides by file name, as the Genomic Data Commons lists them (docs.gdc.cancer.gov, API, files and data)."""
    api = source.url or GDC
    names = {Path(row.path).name: row.slide_id for row in rows if row.status == Status.OK}
    query = {
        "filters": {"op": "in", "content": {"field": "file_name", "value": list(names)}},
        "fields": "file_id,file_name,md5sum,file_size",
        "format": "JSON",
        "size": len(names),
    }
    hits = _ask(session, "POST", f"{api}/files", json=query).json()["data"]["hits"]
    return {names[h["file_name"]]: Remote(f"{api}/data/{h['file_id']}", h["md5sum"], h["file_size"]) for h in hits}


def _http(rows: list[SlideRecord], root: Path, source: Source, session: requests.Session) -> dict[str, Remote]:
    """Files below an address, their checksums in a list beside them."""
    paths = {row.slide_id: Path(os.path.relpath(row.path, root)).as_posix() for row in rows if row.status == Status.OK}
    sums = dict(_checksums(source.checksums, session)) if source.checksums else {}
    remotes = {}
    for slide_id, path in paths.items():
        if sums and Path(path).name not in sums:
            log.warning("%s: the list of checksums does not name it; its size alone is checked", path)
        remotes[slide_id] = Remote(f"{source.url.rstrip('/')}/{quote(path)}", sums.get(Path(path).name, ""))
    return remotes


def _checksums(url: str, session: requests.Session) -> Iterator[tuple[str, str]]:
    for line in _ask(session, "GET", url).text.splitlines():
        if len(parts := line.split(maxsplit=1)) == 2:
            yield Path(parts[1].lstrip("*")).name, parts[0].lower()


def _ask(session: requests.Session, method: str, url: str, **body: Any) -> requests.Response:
    """A list of files. Raises DownloadError when it does not come."""
    for idle in range(TRIES):
        try:
            answer = session.request(method, url, timeout=TIMEOUT, **body)
            answer.raise_for_status()
            return answer
        except requests.RequestException as error:
            problem = error
            if isinstance(error, requests.HTTPError) and error.response.status_code in GONE | REFUSED:
                break
            log.warning("%s: %s; once more", url, error)
            time.sleep(PAUSE * 2**idle)
    raise DownloadError(f"{url}: the list of slides cannot be had: {problem}") from problem


def _by_hand(rows: list[SlideRecord], root: Path, source: Source, session: requests.Session) -> dict[str, Remote]:
    return {}


SOURCES = {"gdc": _gdc, "http": _http, "by_hand": _by_hand}


def _md5(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
