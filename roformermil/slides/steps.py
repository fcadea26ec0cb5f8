"""The stages `segment` and `tile`: one result per slide, skipped where it is current.

Each slide is opened in a subprocess: the functions `*_slide` run there, `segment_slides` and `tile_slides` start them.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from PIL import Image, PngImagePlugin

from roformermil.cohort.slide_files import content_id
from roformermil.cohort.slide_table import SlideRecord, run_stage
from roformermil.config import Tiles, Tissue
from roformermil.config.base import read_settings, to_json
from roformermil.config.tissue import METHODS_OF_KEY
from roformermil.errors import SlideError, Status, WeightsError
from roformermil.runtime import stage_versions
from roformermil.runtime.files import atomic_path, file_sha256, fingerprint, write_text
from roformermil.runtime.subprocesses import preload, run_in_subprocess
from roformermil.slides.backends import open_backend
from roformermil.slides.reader import EXCLUDE_IT, SlideReader
from roformermil.slides.tile_table import TileTable, read_valid_tile_table, write_tile_table
from roformermil.slides.tiles import lay_grid
from roformermil.slides.tissue import draw_outline, mask_to_geojson, segment, tissue_warnings

SAMPLE = 64  # tiles by which the speed of reading is measured
OUTLINE_SIDE = 1000  # pixels, at least, of the longer side of the outline's picture
Image.MAX_IMAGE_PIXELS = None  # masks are our own files
preload(__name__)


def segment_slides(
    records: Sequence[SlideRecord],
    out: Path,
    settings: Tissue,
    timeout: float,
    workers: int = 1,
    progress: bool = True,
    explain: Callable[[SlideError], str] = str,
) -> list[SlideRecord]:
    """Find the tissue of every slide, `workers` at once; see `segment_slide`. explain: the message of a lost slide's record.

    Raises ConfigError, before any is read, for a slide's own settings that do not fit together.
    """
    for record in records:
        tissue_settings(record, settings)
    work = partial(run_in_subprocess, segment_slide, timeout=timeout)
    content = partial(run_in_subprocess, slide_content, timeout=timeout)
    return run_stage("segment", records, lambda r: work(r, out, settings), workers, progress, content, explain)


def tile_slides(
    records: Sequence[SlideRecord],
    masks: Path,
    out: Path,
    settings: Tiles,
    timeout: float,
    progress: bool = True,
    explain: Callable[[SlideError], str] = str,
) -> list[SlideRecord]:
    """Lay the grid over every segmented slide; see `tile_slide`. explain: the message of a lost slide's record."""
    work = partial(run_in_subprocess, tile_slide, timeout=timeout)
    return run_stage("tile", records, lambda r: work(r, masks, out, settings), progress=progress, explain=explain)


def read_metadata(record: SlideRecord) -> dict[str, Any]:
    """Size, scale and reader of a slide, as fields of SlideRecord. Reads a few tiles at most. Raises SlideError."""
    with SlideReader(record.path, record.sheet_mpp) as slide:
        return _slide_fields(slide)


def inspect_slide(record: SlideRecord, tissue: Tissue, tiles: Tiles) -> Iterator[dict[str, Any]]:
    """The fields of SlideRecord that `segment_slide` and `tile_slide` would return, as they become known, so that those of a
    slide that fails are known too. Writes nothing.

    Beside them, at first the file's `format`, at last a `sample`: the slide's TileSpec and the coords (k, 2) of neighbouring
    tiles. Raises SlideError where those stages would: `empty` where there is no tissue, `too_coarse` for these tiles.
    """
    with suppress(SlideError):  # also of a slide without a resolution
        yield read_format(record.path)
    with SlideReader(record.path, record.sheet_mpp) as slide:
        yield _slide_fields(slide)
        mask, fields = _find_tissue(slide, tissue_settings(record, tissue))
        yield fields
        _with_tissue(fields)
        grid = lay_grid(slide, mask, tiles)
    found = _with_tiles(count := len(grid.positions), tiles, "; ".join(grid.warnings))
    both = "; ".join(filter(None, (fields["warnings"], found["warnings"])))
    first = max(0, count - SAMPLE) // 2
    sample = (grid.spec, grid.positions[first : first + SAMPLE] * np.int32(grid.spec.base_px))
    yield found | {"warnings": "; ".join(dict.fromkeys(both.split("; "))), "sample": sample}


def read_format(path: Path) -> dict[str, Any]:
    """A slide file's `format` as its reader names it, `reader`, and `width` and `height` in level-0 pixels. Raises SlideError."""
    backend = open_backend(path)
    width, height = backend.level_sizes[0]
    backend.close()
    return {"format": backend.format, "reader": backend.name, "width": width, "height": height}


def tissue_settings(record: SlideRecord, settings: Tissue) -> Tissue:
    """The data set's settings with those that the slide sheet overrides for this slide. Raises ConfigError."""
    own = yaml.safe_load(record.sheet_tissue or "{}") or {}
    common = settings.model_dump(exclude_unset=True)
    if own.get("method", settings.method) != settings.method:  # the other method's keys have no effect
        common = {key: value for key, value in common.items() if key not in METHODS_OF_KEY}
    return read_settings(Tissue, common | own, f"slide {record.slide_id}, column tissue of the slide sheet")


def segment_slide(record: SlideRecord, out: Path, settings: Tissue) -> dict[str, Any]:
    """Find a slide's tissue; write `{slide_id}.png` (mask), `.geojson` (QuPath) and `.jpg` (outline) into `out`.

    Returns fields of SlideRecord. Raises SlideError, `empty` where there is no tissue.
    """
    settings = tissue_settings(record, settings)
    content = slide_content(record)
    tissue = settings.model_dump(mode="json", exclude={"weights"})
    weights = settings.weights and _weights_sha256(settings.weights)
    source = {"slide": content, "mpp": record.sheet_mpp}
    current = fingerprint(stage="segment", version=stage_versions.SEGMENT, tissue=tissue, weights=weights, **source)
    mask_path = out / f"{record.slide_id}.png"
    info = _read_mask_info(mask_path)
    if info.get("fingerprint") == current:
        return _with_tissue({**info["fields"], "content": content})
    with SlideReader(record.path, record.sheet_mpp) as slide:
        mask, fields = _find_tissue(slide, settings)
        picture = slide.overview(min(settings.mpp, max(slide.size) * slide.scale.mpp / OUTLINE_SIDE))
    check_unchanged(record, content)
    with atomic_path(mask_path.with_suffix(".jpg")) as scratch:
        Image.fromarray(draw_outline(picture, mask)).save(scratch, quality=85)
    write_text(mask_path.with_suffix(".geojson"), mask_to_geojson(mask, slide.size, slide.origin))
    info_chunk = PngImagePlugin.PngInfo()
    info_chunk.add_text("roformermil", json.dumps({"fingerprint": current, "content": content, "fields": fields}))
    with atomic_path(mask_path) as scratch:  # last: the mask's presence marks the slide as done
        Image.fromarray(mask).save(scratch, pnginfo=info_chunk)
    return _with_tissue({**fields, "content": content})


def tile_slide(record: SlideRecord, masks: Path, out: Path, settings: Tiles) -> dict[str, Any]:
    """Lay the grid over a segmented slide; write `{slide_id}.npz` into `out`.

    Returns fields of SlideRecord. Raises SlideError, `empty` where no tile has enough tissue, and as `lay_grid` does.
    """
    mask, content = _read_mask(masks / f"{record.slide_id}.png")
    check_unchanged(record, content)
    # the mask itself, not what made it: where another method finds the same tissue, tiles and features stay
    source = {"mask": sha256(np.packbits(mask).tobytes()).hexdigest(), "shape": list(mask.shape), "slide": content}
    version, tiles = stage_versions.TILE, to_json(settings)
    current = fingerprint(stage="tile", version=version, mpp=record.sheet_mpp, tiles=tiles, **source)
    path = out / f"{record.slide_id}.npz"
    table = read_valid_tile_table(path)
    if table is None or table.fingerprint != current:
        table = _lay_grid(record, mask, settings, content, current)
        write_tile_table(path, table)
    return _with_tiles(len(table.grid), settings, table.warnings)


def slide_content(record: SlideRecord) -> str:
    """Hash of the slide file's content. Raises SlideError when the file is missing or cannot be read."""
    try:
        return content_id(record.path)
    except FileNotFoundError as error:
        raise SlideError(Status.MISSING, f"{record.path}: no such file") from error
    except OSError as error:
        raise SlideError(Status.UNREADABLE, f"{record.path}: {error.strerror}") from error


def check_unchanged(record: SlideRecord, content: str) -> None:
    """Raises SlideError `changed` where the slide's file no longer has this content."""
    if slide_content(record) != content:
        raise SlideError(
            Status.CHANGED, f"{record.path}: the file changed during processing; run again when it is stable"
        )


def thumbnail_hex(image: np.ndarray) -> str:
    """Mean grey levels of 8 x 8 cells in hex, about equal for a picture in any file. image: (h, w, 3) uint8 RGB."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, (8, 8), interpolation=cv2.INTER_AREA).tobytes().hex()


def _lay_grid(record: SlideRecord, mask: np.ndarray, settings: Tiles, content: str, current: str) -> TileTable:
    with SlideReader(record.path, record.sheet_mpp) as slide:
        grid = lay_grid(slide, mask, settings)
    coords = grid.positions * np.int32(grid.spec.base_px)
    origin = (grid.spec, settings, content, current, "; ".join(grid.warnings))
    return TileTable(grid.positions, coords, grid.tissue.astype(np.float32), *origin)


def _find_tissue(slide: SlideReader, settings: Tissue) -> tuple[np.ndarray, dict[str, Any]]:
    """The slide's tissue mask and fields of SlideRecord."""
    known = _slide_fields(slide)  # first: finding the reader may add a warning
    image = slide.overview(settings.mpp)
    mask = segment(image, settings)
    mm2 = slide.size[0] * slide.size[1] * slide.scale.mpp**2 / 1e6
    tissue_mm2 = round(float(mask.mean()) * mm2, 4)
    warnings = "; ".join(filter(None, (slide.scale.warning, *slide.warnings, *tissue_warnings(mask))))
    fields = {"thumbnail": thumbnail_hex(image), "tissue_mm2": tissue_mm2, "warnings": warnings}
    return mask, known | fields


def _slide_fields(slide: SlideReader) -> dict[str, Any]:
    size = {"width": slide.size[0], "height": slide.size[1]}
    return size | {"reader": slide.reader, "mpp": slide.scale.mpp, "mpp_source": slide.scale.source}


def _with_tissue(fields: dict[str, Any]) -> dict[str, Any]:
    if fields["tissue_mm2"] == 0:
        remedy = f"look at the slide in tissue.html of the results; {EXCLUDE_IT}, or change section tissue"
        raise SlideError(Status.EMPTY, "no tissue found", remedy)
    return fields


def _with_tiles(count: int, settings: Tiles, warnings: str) -> dict[str, Any]:
    if not count:
        problem = "; ".join(filter(None, (f"no tile is at least {settings.min_tissue:.0%} tissue", warnings)))
        raise SlideError(Status.EMPTY, problem, "lower tiles.min_tissue to keep such tiles")
    return {"tiles": count, "warnings": warnings}


def _read_mask_info(path: Path) -> dict[str, Any]:
    """What `segment_slide` stored in a mask; empty where the mask is missing, damaged or from an earlier version."""
    try:
        with Image.open(path) as image:
            info = json.loads(image.info.get("roformermil", "{}"))
    except (OSError, SyntaxError, ValueError):
        return {}
    return info if "fields" in info else {}


def _read_mask(path: Path) -> tuple[np.ndarray, str]:
    """A slide's tissue mask, (h, w) bool, and the content of the slide file that it was made from."""
    info = _read_mask_info(path)
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("1")), info["content"]
    except (OSError, SyntaxError, ValueError, KeyError) as error:
        message = f"{path}: the mask is missing or damaged; make it again: snakemake --forcerun segment"
        raise SlideError(Status.UNREADABLE, message) from error


def _weights_sha256(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise WeightsError(f"tissue.weights: {path.absolute()} cannot be read: {error.strerror}") from error
