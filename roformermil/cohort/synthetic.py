"""Synthetic slides, drawn from a seed: the demo needs no download.

Each slide is a piece of tissue on white glass at 0.5 um/px, made of square cells: tumour nests, lymphocytes and stroma.
In class `inflamed` lymphocytes lie among the tumour nests; in class `excluded` stroma separates them from the nests. Each
patient has a slide of both classes, made of the same cells, pixel by pixel: only where they lie tells the classes apart.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from numpy.random import Generator

from roformermil.cohort.synthetic_cells import CELL, LYMPHOCYTES, STROMA, TUMOUR, CellPainter
from roformermil.runtime.files import atomic_path
from roformermil.runtime.records import write_rows

MPP = 0.5
CLASSES = ("inflamed", "excluded")
SIDE = 12  # of a slide, in cells
COUNTS = {TUMOUR: 16, LYMPHOCYTES: 8, STROMA: 36}  # cells of each kind in a slide
TISSUE_CELLS = sum(COUNTS.values())
BARE = -1  # kind of a cell of glass
NEST = COUNTS[TUMOUR] + COUNTS[LYMPHOCYTES]  # cells of the region that the tumour nests share
APART = 2  # cells from that region to excluded lymphocytes, at least
NEIGHBOURS = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.uint8)  # of a cell
OUTLINE_PX = 8  # resolution of the tissue's outline in pixels
CORNER, BAND = 18, 2  # in that resolution: radius of rounded inner corners, and width of a band around the cells
MAX_COVERED = 0.2  # of a cell of glass by stroma: too little for a tile


def write_demo_slides(folder: Path, slides: int = 40, seed: int = 0) -> Path:
    """Write `slides` slides, two per patient, and their slide sheet; returns the sheet's path.

    Slide k depends on `seed` and k only. Slides that exist are kept.
    """
    rows = []
    for k in range(slides):
        slide_id, patient_id = f"demo_{k:02d}", f"patient_{k // 2:02d}"
        label, path = CLASSES[k % 2], f"{slide_id}.tif"
        rows.append({"slide_id": slide_id, "patient_id": patient_id, "label": label, "path": path})
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
        jobs = []
        for first in range(0, slides, 2):
            paths = [folder / row["path"] for row in rows[first : first + 2]]
            jobs.append(pool.submit(_write_patient, paths, seed, first // 2))
        for job in jobs:
            job.result()
    sheet = folder / "slides.csv"
    write_rows(sheet, rows)
    return sheet


def _write_patient(paths: Sequence[Path], seed: int, patient: int) -> None:
    """Write a patient's slides, one of each class."""
    if all(path.exists() for path in paths):
        return
    for path, image in zip(paths, draw_patient(seed, patient), strict=False):
        if not path.exists():
            with atomic_path(path) as scratch:
                write_pyramid(scratch, image)


def write_pyramid(path: Path, image: np.ndarray, mpp: float | None = MPP) -> None:
    """Write (h, w, 3) uint8 RGB as a tiled JPEG TIFF with levels at 1, 1/2 and 1/4, and the resolution in its tags.

    Colour is as fine as brightness, so that no block of 8 x 8 pixels depends on those beside it.
    """
    options: dict[str, Any] = {"tile": (256, 256), "photometric": "rgb", "compression": "jpeg", "metadata": None}
    options |= {"compressionargs": {"level": 85}, "subsampling": (1, 1)}
    options |= {"resolutionunit": "CENTIMETER" if mpp else "NONE"}
    with tifffile.TiffWriter(path) as tiff:
        for level in range(3):
            zoom = 0.5**level
            pixels = cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA) if level else image
            pixels_per_cm = 1e4 * zoom / mpp if mpp else 1.0
            tiff.write(pixels, subfiletype=int(level > 0), resolution=(pixels_per_cm, pixels_per_cm), **options)


def draw_patient(seed: int, patient: int) -> list[np.ndarray]:
    """A slide of each of CLASSES, (SIDE * CELL, SIDE * CELL, 3) uint8 RGB, made of the same cells."""
    rng = np.random.default_rng((seed, patient))
    painter = CellPainter(rng)
    cells = {kind: [painter.draw(rng, kind) for _ in range(count)] for kind, count in COUNTS.items()}
    images = []
    for label in CLASSES:
        layout = lay_cells(rng, label)
        image, stroma = (np.tile(cell, (SIDE, SIDE, 1)) for cell in (painter.glass, painter.background))
        outline = cv2.resize(_outline(layout != BARE), image.shape[1::-1], interpolation=cv2.INTER_LINEAR) > 0.5
        image = cv2.copyTo(stroma, outline.astype(np.uint8), image)
        for kind, drawn in cells.items():
            for (row, column), cell in zip(rng.permutation(np.argwhere(layout == kind)), drawn, strict=True):
                image[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL] = cell
        images.append(image)
    return images


def lay_cells(rng: Generator, label: str) -> np.ndarray:
    """The kind of each cell of a slide of class `label`, BARE on glass: (SIDE, SIDE) int. Holds COUNTS of each kind."""
    while True:
        tissue = _draw_tissue(rng)
        cells = np.argwhere(tissue)
        away = np.hypot(*(cells - cells[rng.integers(len(cells))]).T) + rng.normal(0, 0.5, len(cells))
        nest = np.argsort(away)[:NEST]
        steps = np.abs(cells[:, None] - cells[nest]).max(axis=2).min(axis=1)  # from each cell to the nest
        outside = np.flatnonzero(steps >= APART)
        if len(outside) < COUNTS[LYMPHOCYTES]:
            continue
        kinds = np.full(len(cells), STROMA)
        kinds[rng.choice(nest, COUNTS[TUMOUR], replace=False)] = TUMOUR
        free = {"inflamed": nest[kinds[nest] == STROMA], "excluded": outside}[label]
        kinds[rng.choice(free, COUNTS[LYMPHOCYTES], replace=False)] = LYMPHOCYTES
        layout = np.full((SIDE, SIDE), BARE)
        layout[tissue] = kinds
        return layout


def _draw_tissue(rng: Generator) -> np.ndarray:
    """Which cells are tissue, (SIDE, SIDE) bool: TISSUE_CELLS in one piece without narrow arms or bays,
    with glass around it."""
    y, x = np.mgrid[0:SIDE, 0:SIDE] - (SIDE - 1) / 2
    angle = np.arctan2(y, x)
    while True:
        turn, stretch = rng.uniform(0, np.pi), rng.uniform(1, 1.25)
        radius = np.hypot((np.cos(turn) * x + np.sin(turn) * y) * stretch, np.cos(turn) * y - np.sin(turn) * x)
        for wave in (2, 3, 5):
            radius = radius * (1 + 0.06 * rng.normal() * np.cos(wave * angle + rng.uniform(0, 2 * np.pi)))
        tissue = np.zeros((SIDE, SIDE), bool)
        tissue.flat[np.argsort(radius, axis=None)[:TISSUE_CELLS]] = True
        outline = (_outline(tissue) > 0.5).astype(np.float32)
        covered = cv2.resize(outline, (SIDE, SIDE), interpolation=cv2.INTER_AREA)[~tissue]
        in_one_piece = cv2.connectedComponents(tissue.astype(np.uint8), connectivity=4)[0] == 2
        neighbours = cv2.filter2D(tissue.astype(np.uint8), -1, NEIGHBOURS, borderType=cv2.BORDER_CONSTANT)
        has_glass_around = tissue[1:-1, 1:-1].sum() == TISSUE_CELLS
        if in_one_piece and has_glass_around and neighbours[tissue].min() > 1 and covered.max() < MAX_COVERED:
            return tissue


def _outline(tissue: np.ndarray) -> np.ndarray:
    """The tissue with rounded inner corners and a band around it: (h, w) float32, above 0.5 inside, 1 px per OUTLINE_PX."""
    cells = cv2.resize(
        tissue.astype(np.float32), None, fx=CELL / OUTLINE_PX, fy=CELL / OUTLINE_PX, interpolation=cv2.INTER_NEAREST
    )
    for operation, radius in ((cv2.MORPH_CLOSE, CORNER), (cv2.MORPH_DILATE, BAND)):
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        cells = cv2.morphologyEx(cells, operation, disc)
    return cv2.GaussianBlur(cells, (0, 0), BAND)
