"""The two stages that need no encoder: `segment` and `tile`, a result a slide, skipped where it is current already.

A slide file is opened in a process of its own (`isolation`) alone: these functions are what runs there.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import cv2
import numpy as np
import yaml
from PIL import Image, PngImagePlugin

from roformermil import revisions
from roformermil.config import METHOD_KEYS, Tiles, Tissue
from roformermil.errors import ConfigError, Reason, SlideError, WeightsError
from roformermil.files import atomic_path, content_id, file_sha256, fingerprint, write_text
from roformermil.settings import read_settings, to_text
from roformermil.slides.reader import SlideReader
from roformermil.slides.tiles import TileSpec, tile_spec, tissue_grid
from roformermil.slides.tissue import outline, segment, to_geojson
from roformermil.status import Status

VIEW = 1000  # pixels, at least, of the outline's longer side
PARTS = 8  # of a slide's sides, in its coarsest view
Image.MAX_IMAGE_PIXELS = None  # masks are our own files


@dataclass(frozen=True)
class TileTable:
    """A slide's grid of tiles, as `tile` leaves it for `embed`."""

    grid: np.ndarray  # (n, 2) int32
    coords: np.ndarray  # (n, 2) int32, level-0 pixels
    tissue: np.ndarray  # (n,) float32, fraction of the tile that is tissue
    spec: TileSpec  # how each tile is read
    settings: Tiles  # what the grid was laid with
    content: str  # identity of the slide file that the grid was laid over
    fingerprint: str


def open_slide(row: Status) -> dict[str, Any]:
    """What a slide says of itself. Raises SlideError when it does not open or states no scale."""
    with SlideReader(row.path, row.sheet_mpp) as slide:
        return _said_by(slide)


def _said_by(slide: SlideReader) -> dict[str, Any]:
    width, height = slide.size
    scale = slide.scale
    return {
        "width": width, "height": height, "reader": slide.reader, "mpp": scale.mpp, "mpp_source": scale.source
    }  # fmt: skip


def settings_of(row: Status, settings: Tissue) -> Tissue:
    """The data set's settings with what the slide's row of the sheet overrides."""
    given = yaml.safe_load(row.sheet_tissue or "{}") or {}
    usual = settings.model_dump(exclude_unset=True)
    if given.get("method", settings.method) != settings.method:  # what was said to the other method
        usual = {key: value for key, value in usual.items() if key not in METHOD_KEYS}
    return read_settings(Tissue, usual | given, f"slide {row.slide_id}, column tissue of its sheet")


def segment_slide(row: Status, out: Path, settings: Tissue) -> dict[str, Any]:
    """Find a slide's tissue; write `{slide_id}.png` (mask), `.geojson` (QuPath) and `.jpg` (outline) into `out`.

    Returns what became known of the slide. Raises SlideError, `empty` where there is no tissue.
    """
    settings = settings_of(row, settings)
    content = slide_content(row)
    mark = fingerprint(
        stage="segment",
        revision=revisions.SEGMENT,
        slide=content,
        mpp=row.sheet_mpp,
        tissue=settings.model_dump(mode="json", exclude={"weights"}),
        weights=settings.weights and _weights_id(settings.weights),
    )
    target = out / f"{row.slide_id}.png"
    if target.exists() and (found := _mask_info(target)).get("fingerprint") == mark:
        return _known({**found["facts"], "content": content})
    with SlideReader(row.path, row.sheet_mpp) as slide:
        image = slide.overview(settings.mpp)
        mask = segment(image, settings)
        view = slide.overview(min(settings.mpp, max(slide.size) * slide.scale.mpp / VIEW))
        facts = {
            **_said_by(slide),
            "pixels": coarsest_view(image),
            "tissue_mm2": round(float(mask.mean()) * slide.size[0] * slide.size[1] * slide.scale.mpp**2 / 1e6, 4),
        }
    check_unchanged(row, content)
    with atomic_path(target.with_suffix(".jpg")) as scratch:
        Image.fromarray(outline(view, mask)).save(scratch, quality=85)
    write_text(target.with_suffix(".geojson"), to_geojson(mask, slide.size, slide.origin))
    info = PngImagePlugin.PngInfo()
    info.add_text("roformermil", json.dumps({"fingerprint": mark, "content": content, "facts": facts}))
    with atomic_path(target) as scratch:  # last: it is what marks the slide as done
        Image.fromarray(mask).save(scratch, pnginfo=info)
    return _known({**facts, "content": content})


def coarsest_view(image: np.ndarray) -> str:
    """Mean grey of PARTS x PARTS parts of a slide, in hex: equal but for a few levels whatever the file, its levels and its resolution."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, (PARTS, PARTS), interpolation=cv2.INTER_AREA).tobytes().hex()


def _weights_id(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise WeightsError(f"tissue.weights: {path} cannot be read: {error.strerror}") from error


def tile_slide(row: Status, masks: Path, out: Path, settings: Tiles) -> dict[str, Any]:
    """Lay the grid over a segmented slide; write `{slide_id}.npz` into `out`.

    Returns what became known of the slide. Raises SlideError, `empty` where no tile has enough tissue.
    """
    source = masks / f"{row.slide_id}.png"
    if not (info := _mask_info(source)):
        raise SlideError(Reason.UNREADABLE, f"{source}: its mask is gone or damaged: snakemake --forcerun segment")
    check_unchanged(row, info["content"])
    mark = fingerprint(stage="tile", revision=revisions.TILE, mask=info["fingerprint"], tiles=to_text(settings))
    target = out / f"{row.slide_id}.npz"
    if (found := current_tiles(target)) and found.fingerprint == mark:
        return _enough(len(found.grid), settings)
    with SlideReader(row.path, row.sheet_mpp) as slide:
        spec = tile_spec(slide, settings)
        with Image.open(source) as image:
            mask = np.asarray(image.convert("1"))
        grid, tissue = tissue_grid(mask, slide.size, spec.step, settings.min_tissue)
    decided = {"fingerprint": mark, "content": info["content"], "spec": asdict(spec), "tiles": to_text(settings)}
    with atomic_path(target) as scratch:
        np.savez_compressed(
            scratch,
            grid=grid,
            coords=grid * np.int32(spec.step),
            tissue=tissue.astype(np.float32),
            info=np.array(json.dumps(decided)),
        )
    return _enough(len(grid), settings)


def read_tiles(path: Path) -> TileTable:
    """A slide's tiles as `tile_slide` wrote them."""
    with np.load(path) as file:
        info = json.loads(str(file["info"]))
        settings = read_settings(Tiles, info["tiles"], str(path))
        spec = TileSpec(**info["spec"])
        return TileTable(
            file["grid"], file["coords"], file["tissue"], spec, settings, info["content"], info["fingerprint"]
        )


def current_tiles(path: Path) -> TileTable | None:
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
    """What `segment` noted in a mask; nothing where it is damaged."""
    try:
        with Image.open(path) as image:
            return json.loads(image.info.get("roformermil", "{}"))
    except (OSError, SyntaxError, ValueError):
        return {}


def slide_content(row: Status) -> str:
    """Identity of the slide file's content. Raises SlideError when the file is gone or cannot be read."""
    path = row.path
    try:
        return content_id(Path(path))
    except FileNotFoundError as error:
        raise SlideError(Reason.MISSING, f"{path}: no such file") from error
    except OSError as error:
        raise SlideError(Reason.UNREADABLE, f"{path}: {error.strerror}") from error


def check_unchanged(row: Status, content: str) -> None:
    """Raises SlideError `changed` where the slide's file is no longer the one whose content this was."""
    if slide_content(row) != content:
        raise SlideError(
            Reason.CHANGED, f"{row.path}: the file became another while it was worked on; run again when it stays"
        )
