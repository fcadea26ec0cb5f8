"""Status tables: one row a slide, what became of it. A bad slide is a row, never a crash."""

import csv
import io
import logging
import os
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from roformermil.errors import Reason, SlideError, TooManyFailedError
from roformermil.files import content_id, write_text
from roformermil.progress import track
from roformermil.sheet import Slide

log = logging.getLogger(__name__)

OK = "ok"


@dataclass(frozen=True)
class Status:
    """What became of a slide so far. Later stages take the table of the stage before and pass failures on."""

    slide_id: str
    path: str
    sheet_mpp: float | None = None  # um/px from the slide sheet
    sheet_tissue: str = ""  # settings of this slide from the slide sheet
    status: str = OK  # ok, or the name of what went wrong (errors.Reason)
    reason: str = ""  # the same for a person
    stage: str = ""  # where it went wrong
    width: int | None = None  # level-0 pixels
    height: int | None = None
    reader: str = ""  # what opened it: openslide or tiatoolbox
    mpp: float | None = None  # um/px in use
    mpp_source: str = ""
    content: str = ""  # identity of the slide file that was worked on
    pixels: str = ""  # its coarsest view, whatever file holds it
    tissue_mm2: float | None = None
    tiles: int | None = None
    fingerprint: str = ""  # of the slide's features: what decided them
    seconds: float = 0.0  # over all stages; a result that was there already takes none


def from_sheet(slides: list[Slide]) -> list[Status]:
    """The rows that a data set's first stage begins with."""
    rows = (Status(slide.slide_id, slide.path, slide.mpp, slide.tissue) for slide in slides)
    return [
        replace(row, status=str(Reason.EXCLUDED), reason=slide.exclude, stage="sheet") if slide.exclude else row
        for row, slide in zip(rows, slides, strict=True)
    ]


def run_stage(
    stage: str,
    rows: list[Status],
    work: Callable[[Status], dict[str, Any]],
    workers: int = 1,
    progress: bool = True,
    identify: Callable[[Status], str] | None = None,
) -> list[Status]:
    """Call `work` for each slide that is well so far; it returns what it found out, as fields of Status.

    `workers` slides are in hand at once. A SlideError becomes the slide's row, with the content of its file by `identify`,
    so that it is tried again when the file is another. Other errors are not the slide's fault
    (a full disk, a bug): they pass, when the slides in hand are finished.
    """

    def one(row: Status) -> Status:
        if row.status != OK:
            return row
        start = time.perf_counter()
        try:
            row = replace(row, **work(row))
        except SlideError as error:
            row = failed(row, stage, error)
            if identify:
                with suppress(SlideError):
                    row = replace(row, content=identify(row))
        except Exception:
            log.error("%s failed at slide %s (%s)", stage, row.slide_id, row.path)
            raise
        return replace(row, seconds=round(row.seconds + time.perf_counter() - start, 3))

    with ThreadPoolExecutor(workers) as pool:
        waiting = [pool.submit(one, row) for row in rows]
        try:
            return [w.result() for w in track(waiting, desc=stage, unit="slide", on=progress)]
        finally:
            pool.shutdown(cancel_futures=True)


def failed(row: Status, stage: str, error: SlideError) -> Status:
    """The row of a slide that cannot be used."""
    log.warning("%s: %s: %s", row.slide_id, error.reason, error)
    return replace(row, status=str(error.reason), reason=str(error), stage=stage)


def write_status(path: Path, rows: list[Status]) -> None:
    """Write a status table (CSV), atomically."""
    write_rows(path, [asdict(row) for row in rows])


def write_slides(path: Path, rows: list[Status]) -> None:
    """Write a data set's slides.csv: a status table without `seconds`, so that it changes only when a slide does."""
    write_rows(path, [{name: value for name, value in asdict(row).items() if name != "seconds"} for row in rows])


def read_status(path: Path) -> list[Status]:
    """Read a status table that `write_status` or `write_slides` wrote."""
    types = {f.name: f.type for f in fields(Status)}
    with open(path, newline="", encoding="utf-8") as file:
        return [Status(**{k: _typed(v, types[k]) for k, v in row.items()}) for row in csv.DictReader(file)]


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write dictionaries of equal keys as CSV, atomically; None is an empty cell."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def changed_files(files: list[str], table: Path) -> set[str]:
    """The slide files that are others than those which the status table `table` was made from. A file that is newer than
    the table but has the content that stands there was touched, or copied anew: no change."""
    try:
        made = os.stat(table).st_mtime
    except FileNotFoundError:
        return set(files)
    newer = [file for file in files if os.path.exists(file) and os.stat(file).st_mtime > made]
    if not newer:
        return set()
    known = {row.path: row.content for row in read_status(table)}
    return {file for file in newer if content_id(Path(file)) != known.get(file)}


def _typed(text: str, annotation: Any) -> Any:
    if annotation is str:
        return text
    if text == "":
        return None
    return int(text) if annotation == int | None else float(text)


def attrition(rows: list[Status]) -> str:
    """One line for a person: how many slides are there, how many are missing and why."""
    counts = Counter(row.status for row in rows)
    well, excluded = counts.pop(OK, 0), counts.pop(Reason.EXCLUDED, 0)
    detail = ", ".join(f"{n} {name}" for name, n in sorted(counts.items()))
    return (
        f"{well} of {len(rows)} slides"
        + (f", {excluded} excluded by the sheet" if excluded else "")
        + (f", {counts.total()} missing ({detail})" if counts else "")
    )


def check_attrition(rows: list[Status], max_failed_fraction: float, table: Path) -> None:
    """Raises TooManyFailedError, naming slides and reasons, when more than this fraction of the slides is missing."""
    lost = [row for row in rows if row.status not in (OK, Reason.EXCLUDED)]
    complete = table.with_name(f"{table.stem}_failed.csv")
    if len(lost) <= max_failed_fraction * len(rows):
        complete.unlink(missing_ok=True)  # of an earlier run
        return
    write_slides(complete, rows)
    shown = "\n".join(f"  {row.slide_id}: {row.status} in {row.stage}: {row.reason}" for row in lost[:20])
    more = f"\n  and {len(lost) - 20} more" if len(lost) > 20 else ""
    raise TooManyFailedError(
        f"{table.parent.name}: {attrition(rows)}, more than max_failed_fraction {max_failed_fraction:.0%} allows:\n"
        f"{shown}{more}\nAll rows are in {complete}. Mend these slides, take them off the sheet, or raise max_failed_fraction"
    )
