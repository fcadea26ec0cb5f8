"""The slide table: one record a slide, what became of it so far. A bad slide is a record, never a crash."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from roformermil.cohort.slide_sheet import Slide
from roformermil.errors import BagError, SlideError, Status, TooManyFailedError
from roformermil.runtime.memory import one_reader
from roformermil.runtime.progress import track
from roformermil.runtime.records import read_records, write_records
from roformermil.runtime.termination import end_if_requested
from roformermil.runtime.text import first_lines, join_some, plural

SHOWN_SLIDES = 20  # that an error lists
LOST_REMEDY = "Repair these slides, leave them out (column exclude of the slide sheet), or raise max_failed_fraction"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SlideRecord:
    """A slide in the slide table. Each stage takes the table of the stage before and passes failures on."""

    slide_id: str
    path: Path
    sheet_mpp: float | None = None  # um/px from the slide sheet
    sheet_tissue: str = ""  # settings for this slide from the slide sheet
    status: str = Status.OK
    message: str = ""  # the status explained
    stage: str = ""  # where it failed
    width: int | None = None  # level-0 pixels
    height: int | None = None
    reader: str = ""  # openslide or tiatoolbox
    mpp: float | None = None  # um/px in use
    mpp_source: str = ""
    content: str = ""  # hash of the slide's file (`slide_files.content_id`)
    bytes: int | None = None  # size and date of the file when its first stage started (`slide_files.file_state`)
    modified: int | None = None  # nanoseconds
    thumbnail: str = ""  # 8 x 8 grey levels in hex: equal for the same picture in another file
    tissue_mm2: float | None = None
    tiles: int | None = None
    values: int | None = None  # per tile, of its features
    extractor: str = ""  # what made imported features, as their file states it
    fingerprint: str = ""  # of everything that decided the slide's features
    warnings: str = ""  # what is odd about a usable slide, joined by "; "
    settings: str = ""  # digest of those of the stage that wrote the table (`outdated.settings_digest`)
    seconds: float = 0.0  # over all stages; existing results take none

    @property
    def is_ok(self) -> bool:
        return self.status == Status.OK

    @property
    def is_lost(self) -> bool:
        """Whether the slide failed. One that the slide sheet excludes did not."""
        return self.status not in (Status.OK, Status.EXCLUDED)


def records_from_sheet(slides: Iterable[Slide]) -> list[SlideRecord]:
    """The records that a data set's first stage starts with."""
    records = []
    for slide in slides:
        outcome = (Status.EXCLUDED, slide.exclude, "slide sheet") if slide.exclude else ()
        records.append(SlideRecord(slide.slide_id, slide.path, slide.mpp, slide.tissue, *outcome))
    return records


def run_stage(
    stage: str,
    records: Sequence[SlideRecord],
    work: Callable[[SlideRecord], dict[str, Any]],
    workers: int = 1,
    progress: bool = True,
    content_of: Callable[[SlideRecord], str] | None = None,
    explain: Callable[[SlideError], str] = str,
) -> list[SlideRecord]:
    """Update every slide without a failure so far by the fields that `work` returns for it, `workers` slides at once.

    A SlideError becomes the slide's record: its message is what `explain` makes of it, and with its file's `content_of`
    it is tried again when that changes. Slides that need more memory than their part are tried once more, one at a time,
    with the memory of all workers. Any other error (a full disk, a bug) is raised after the slides in progress finished,
    and so is TerminatedError after SIGTERM.
    """

    def process(record: SlideRecord) -> SlideRecord:
        if not record.is_ok:
            return record
        end_if_requested()
        start = time.perf_counter()
        try:
            record = _update(record, work(record))
        except SlideError as error:
            record = failed_record(record, stage, SlideError(Status(error.status), explain(error)))
            if content_of:
                with suppress(SlideError):
                    record = replace(record, content=content_of(record))
        except Exception:
            log.error("%s failed at slide %s (%s)", stage, record.slide_id, record.path)
            raise
        return replace(record, seconds=round(record.seconds + time.perf_counter() - start, 3))

    with ThreadPoolExecutor(workers) as pool:
        jobs = [pool.submit(process, record) for record in records]
        try:
            results = [job.result() for job in track(jobs, desc=stage, unit="slide", on=progress)]
        finally:
            pool.shutdown(cancel_futures=True)
    with one_reader():
        for k, (record, result) in enumerate(zip(records, results, strict=True)):
            if lacked_memory(result, stage):
                log.info("%s: trying again alone, with the memory of all readers", record.slide_id)
                results[k] = process(record)
    return results


def lacked_memory(record: SlideRecord, stage: str) -> bool:
    """Whether the slide failed in this stage since it needs more memory than a reader's part."""
    return record.status == Status.OUT_OF_MEMORY and record.stage == stage


def _update(record: SlideRecord, fields: dict[str, Any]) -> SlideRecord:
    """The record with a stage's fields; the stage's warnings are added to those of the stages before."""
    if added := fields.get("warnings", ""):
        log.warning("%s: %s", record.slide_id, shorten_warnings(added))
    both = f"{record.warnings}; {added}".split("; ")  # two stages may find the same
    warnings = "; ".join(dict.fromkeys(filter(None, both)))
    return replace(record, **fields | {"warnings": warnings})


def shorten_warnings(warnings: str) -> str:
    """What is odd about a slide, without the remedies after the colons, which `check` states once for all slides."""
    return "; ".join(warning.split(": ")[0] for warning in warnings.split("; "))


def failed_record(record: SlideRecord, stage: str, error: SlideError) -> SlideRecord:
    """The record of a slide that cannot be used."""
    brief = f"{record.slide_id}: {error.status}"
    log.warning("%s: %s", brief, error, extra={"brief": brief})
    return replace(record, status=error.status, message=str(error), stage=stage)


def write_slides_csv(path: Path, records: Sequence[SlideRecord]) -> None:
    """Write a data set's slides.csv: without times, dates and digests, so that it changes only when a slide does."""
    write_records(path, records, exclude=frozenset({"seconds", "bytes", "modified", "settings"}))


def read_slide_table(path: Path) -> list[SlideRecord]:
    """Read a slide table, of a stage or of a data set."""
    return read_records(path, SlideRecord)


def read_slide_tables(paths: Iterable[Path]) -> list[SlideRecord]:
    """Read the slide tables of a data set's batches; records are in the order of slide ids."""
    return sorted((record for path in paths for record in read_slide_table(path)), key=lambda record: record.slide_id)


def collect_tables(tables: Iterable[Path], out: Path, max_failed_fraction: float) -> None:
    """Join the slide tables of a data set's batches into `out`, in the data set's folder, in the order of slide ids.

    Raises TooManyFailedError as `check_failed_fraction` does, and BagError where features cannot be trained together.
    """
    name, records = out.parent.name, read_slide_tables(tables)
    log.info("%s: %s", name, attrition_summary(records))
    check_failed_fraction(records, max_failed_fraction, out)
    if warning := mixed_extractors(records):
        log.warning("%s: %s", name, warning)
    if error := mixed_widths(records):
        raise BagError(f"{name}: {error}")
    out.with_name("slides_failed.csv").unlink(missing_ok=True)  # of an earlier run
    write_slides_csv(out, records)


def attrition_summary(records: Sequence[SlideRecord]) -> str:
    """One line for a person: how many slides are usable, how many are lost and why."""
    counts = Counter(record.status for record in records)
    usable, excluded = counts.pop(Status.OK, 0), counts.pop(Status.EXCLUDED, 0)
    detail = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    excluded_part = f", {excluded} excluded by the slide sheet" if excluded else ""
    return f"{usable} of {len(records)} slides{excluded_part}" + (
        f", {counts.total()} lost ({detail})" if counts else ""
    )


def mixed_widths(records: Iterable[SlideRecord]) -> str:
    """An error, naming slides, of features that cannot be trained together; "" where all have the same values per tile."""
    if len(slides := _slides_by(records, "values")) < 2:
        return ""
    widths = ", ".join(f"{values} in {names}" for values, names in slides.items())
    remedy = "use files of one encoder for all, or leave slides out (column exclude of the slide sheet)"
    return f"features differ in their number of values per tile: {widths}; {remedy}"


def mixed_extractors(records: Iterable[SlideRecord]) -> str:
    """A warning, naming slides, of imported features that different models made; "" where all are alike."""
    if len(slides := _slides_by(records, "extractor")) < 2:
        return ""
    models = ", ".join(f"{extractor} in {names}" for extractor, names in slides.items())
    return f"the slides' features were made by different models, as their files state: {models}"


def _slides_by(records: Iterable[SlideRecord], field: str) -> dict[Any, str]:
    """By value of a field, of usable slides that have one, how many slides, with some names unless these are most."""
    slides: dict[Any, list[str]] = {}
    for record in records:
        if record.is_ok and (value := getattr(record, field)):
            slides.setdefault(value, []).append(record.slide_id)
    ordered = sorted(slides.items(), key=lambda item: -len(item[1]))
    return {
        value: plural(len(names), "slide") if k == 0 and len(names) > 1 else join_some(names)
        for k, (value, names) in enumerate(ordered)
    }


def check_failed_fraction(records: Sequence[SlideRecord], max_failed_fraction: float, table: Path) -> None:
    """Raises TooManyFailedError, naming slides and causes, when more than this fraction of slides is lost. All records
    are then in `slides_failed.csv` beside `table`, the data set's."""
    lost = [record for record in records if record.is_lost]
    if len(lost) <= max_failed_fraction * len(records):
        return
    write_slides_csv(failed_table := table.with_name("slides_failed.csv"), records)
    lines = [f"  {record.slide_id}: {record.status} in {record.stage}: {record.message}" for record in lost]
    raise TooManyFailedError(
        f"{table.parent.name}: {attrition_summary(records)}; max_failed_fraction allows {max_failed_fraction:.0%}:\n"
        f"{first_lines(lines, SHOWN_SLIDES)}\nAll slides are in {failed_table}. {LOST_REMEDY}"
    )
