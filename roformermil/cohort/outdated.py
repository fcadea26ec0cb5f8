"""Why a stage has to work on a batch of slides again. Snakemake alone notices less: only slides with a newer date, and no
change of settings where its records are gone, as of results that were moved."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from roformermil.cohort.slide_files import content_id, file_state
from roformermil.cohort.slide_sheet import Slide
from roformermil.cohort.slide_table import SlideRecord, read_slide_table, records_from_sheet
from roformermil.config import Encoder, Tiles, Tissue
from roformermil.errors import TRANSIENT, Status
from roformermil.runtime import stage_versions
from roformermil.runtime.files import fingerprint
from roformermil.runtime.text import join_some


def segment_digest(settings: Tissue) -> str:
    """`settings_digest` of `segment`."""
    return settings_digest(stage_versions.SEGMENT, settings.deciding_values(), settings.weights)


def tile_digest(settings: Tiles) -> str:
    """`settings_digest` of `tile`."""
    return settings_digest(stage_versions.TILE, settings.deciding_values())


def embed_digest(settings: Encoder) -> str:
    """`settings_digest` of `embed`."""
    return settings_digest(stage_versions.EMBED, settings.deciding_values(), settings.weights_path)


def import_digest(encoder_id: str) -> str:
    """`settings_digest` of `import`."""
    return settings_digest(stage_versions.IMPORT, {"encoder": encoder_id})


def settings_digest(version: int, settings: Mapping[str, Any], weights: Path | None = None) -> str:
    """Digest of what decides a stage's results for all slides: its version, its settings and the content of its weights."""
    content = content_id(weights) if weights and weights.exists() else ""
    return fingerprint(version=version, settings=settings, weights=content)


def reasons_to_repeat(
    table: Path, stage: str, digest: str = "", slides: Sequence[Slide] | None = None
) -> Iterator[str]:
    """Why a stage has to make its slide table again, one line per slide; nothing where there is no table yet.

    Slides that may be usable another time (`errors.TRANSIENT`) are tried again. digest: of the stage's settings now, if it has
    any. slides: the batch's, for the first stage that reads them; then also those whose row of the slide sheet or whose file
    changed, to an older date too. A file with another date but the recorded content was copied or touched: it has not
    changed. Absent files give no reason.
    """
    try:
        records = read_slide_table(table) if table.exists() else None
    except ValueError as error:
        yield f"a damaged table ({error})"
        return
    if records is None:
        return
    if digest and any(record.settings != digest for record in records):
        yield f"{table}: made with other settings"
    if slides is not None:
        yield from reasons_to_list_again(table, slides)
    for record in records:
        if record.stage == stage and (record.status in TRANSIENT or _can_be_opened_now(record)):
            if record.path.exists():
                yield f"{record.slide_id}: tried again, since it was {record.status}"
        elif slides is not None and record.status != Status.EXCLUDED and _has_changed(record):
            yield f"{record.slide_id}: its file changed"


def reasons_to_list_again(table: Path, slides: Sequence[Slide]) -> Iterator[str]:
    """A line if the slide table of a batch has other slides, or of other rows of the slide sheet, than `slides`; none where it
    does not exist or is damaged."""
    with suppress(OSError, ValueError):
        if changed := _rows(read_slide_table(table)) ^ _rows(records_from_sheet(slides)):
            name = table.stem.removeprefix("batch_")
            yield f"batch {name}: other rows of the slide sheet ({join_some(sorted({row[0] for row in changed}))})"


def _rows(records: Iterable[SlideRecord]) -> set[tuple]:
    """What of the slide sheet decides a stage's results."""
    return {(r.slide_id, r.path, r.sheet_mpp, r.sheet_tissue, r.status == Status.EXCLUDED) for r in records}


def _can_be_opened_now(record: SlideRecord) -> bool:
    return record.status == Status.NEEDS_TIATOOLBOX and find_spec("tiatoolbox") is not None


def _has_changed(record: SlideRecord) -> bool:
    """Whether a slide's file has other content than recorded. Content that could not be read may be readable now."""
    state = file_state(record.path)
    if state["bytes"] is None or (record.content and state == {"bytes": record.bytes, "modified": record.modified}):
        return False
    with suppress(OSError):
        return content_id(record.path) != record.content
    return False
