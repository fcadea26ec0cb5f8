"""The two stages that need no encoder: `segment` and `tile`, a result a slide, skipped where it is current already."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from PIL import Image, PngImagePlugin

from roformermil import revisions
from roformermil.config import Tiles, Tissue
from roformermil.errors import ConfigError, Reason, SlideError
from roformermil.files import atomic_path, content_id, fingerprint, write_text
from roformermil.settings import read_settings, to_text
from roformermil.slides.reader import SlideReader
from roformermil.slides.tiles import tile_spec, tissue_grid
from roformermil.slides.tissue import outline, segment, to_geojson
from roformermil.status import Status

VIEW = 1000  # pixels, at least, of the outline's longer side
Image.MAX_IMAGE_PIXELS = None  # masks are our own files


@dataclass(frozen=True)
class TileTable:
    """A slide's grid of tiles, as `tile` leaves it for `embed`."""

    grid: np.ndarray  # (n, 2) int32
    coords: np.ndarray  # (n, 2) int32, level-0 pixels
    tissue: np.ndarray  # (n,) float32, fraction of the tile that is tissue
    step: int  # level-0 pixels
    settings: Tiles  # what the grid was laid with
    fingerprint: str


def open_slide(row: Status) -> dict[str, Any]:
    """What a slide says of itself. Raises SlideError when it does not open or states no scale."""
    with SlideReader(row.path, row.sheet_mpp) as slide:
        scale = slide.scale
        return {"width": slide.size[0], "height": slide.size[1], "mpp": scale.mpp, "mpp_source": scale.source}


def segment_slide(row: Status, out: Path, settings: Tissue) -> dict[str, Any]:
    """Find a slide's tissue; write `{slide_id}.png` (mask), `.geojson` (QuPath) and `.jpg` (outline) into `out`.

    Returns what became known of the slide. Raises SlideError, `empty` where there is no tissue.
    """
    mark = fingerprint(
        stage="segment",
        revision=revisions.SEGMENT,
        slide=slide_content(row),
        mpp=row.sheet_mpp,
        tissue=to_text(settings),
    )
    target = out / f"{row.slide_id}.png"
    if target.exists() and (found := _mask_info(target)).get("fingerprint") == mark:
        return _known(found["facts"])
    with SlideReader(row.path, row.sheet_mpp) as slide:
        image = slide.overview(settings.mpp)
        mask = segment(image, settings)
        view = slide.overview(min(settings.mpp, max(slide.size) * slide.scale.mpp / VIEW))
        facts = {
            "width": slide.size[0],
            "height": slide.size[1],
            "mpp": slide.scale.mpp,
            "mpp_source": slide.scale.source,
            "tissue_mm2": round(float(mask.mean()) * slide.size[0] * slide.size[1] * slide.scale.mpp**2 / 1e6, 4),
        }
    with atomic_path(target.with_suffix(".jpg")) as scratch:
        Image.fromarray(outline(view, mask)).save(scratch, quality=85)
    write_text(target.with_suffix(".geojson"), to_geojson(mask, slide.size))
    info = PngImagePlugin.PngInfo()
    info.add_text("roformermil", json.dumps({"fingerprint": mark, "facts": facts}))
    with atomic_path(target) as scratch:  # last: it is what marks the slide as done
        Image.fromarray(mask).save(scratch, pnginfo=info)
    return _known(facts)


def tile_slide(row: Status, masks: Path, out: Path, settings: Tiles) -> dict[str, Any]:
    """Lay the grid over a segmented slide; write `{slide_id}.npz` into `out`.

    Returns what became known of the slide. Raises SlideError, `empty` where no tile has enough tissue.
    """
    source = masks / f"{row.slide_id}.png"
    mark = fingerprint(
        stage="tile", revision=revisions.TILE, mask=_mask_info(source)["fingerprint"], tiles=to_text(settings)
    )
    target = out / f"{row.slide_id}.npz"
    if (found := _current(target)) and found.fingerprint == mark:
        return _enough(len(found.grid), settings)
    with SlideReader(row.path, row.sheet_mpp) as slide:
        spec = tile_spec(slide, settings)
        with Image.open(source) as image:
            mask = np.asarray(image.convert("1"))
        grid, tissue = tissue_grid(mask, slide.size, spec.step, settings.min_tissue)
    info = json.dumps({"fingerprint": mark, "step": spec.step, "tiles": to_text(settings)})
    with atomic_path(target) as scratch:
        np.savez_compressed(
            scratch, grid=grid, coords=grid * np.int32(spec.step), tissue=tissue.astype(np.float32), info=np.array(info)
        )
    return _enough(len(grid), settings)


def read_tiles(path: Path) -> TileTable:
    """A slide's tiles as `tile_slide` wrote them."""
    with np.load(path) as file:
        info = json.loads(str(file["info"]))
        settings = read_settings(Tiles, info["tiles"], str(path))
        return TileTable(file["grid"], file["coords"], file["tissue"], info["step"], settings, info["fingerprint"])


def _current(path: Path) -> TileTable | None:
    """The tile table, None where there is none, or one that is damaged or of an earlier version: made anew."""
    try:
        return read_tiles(path)
    except (OSError, EOFError, KeyError, ValueError, BadZipFile, ConfigError):
        return None


def _enough(tiles: int, settings: Tiles) -> dict[str, Any]:
    if tiles == 0:
        raise SlideError(Reason.EMPTY, f"no tile has {settings.min_tissue:.0%} tissue; see tiles.min_tissue")
    return {"tiles": tiles}


def _known(facts: dict[str, Any]) -> dict[str, Any]:
    if facts["tissue_mm2"] == 0:
        raise SlideError(Reason.EMPTY, "no tissue found; look at the outline in tissue/ and the tissue settings")
    return facts


def _mask_info(path: Path) -> dict[str, Any]:
    with Image.open(path) as image:
        return json.loads(image.info.get("roformermil", "{}"))


def slide_content(row: Status) -> str:
    """Identity of the slide file's content. Raises SlideError when the file is gone or cannot be read."""
    path = row.path
    try:
        return content_id(Path(path))
    except FileNotFoundError as error:
        raise SlideError(Reason.MISSING, f"{path}: no such file") from error
    except OSError as error:
        raise SlideError(Reason.UNREADABLE, f"{path}: {error.strerror}") from error
