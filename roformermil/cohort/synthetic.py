"""Synthetic slides, drawn from a seed: the demo needs no download.

Each slide is an irregular piece of tissue on white glass at 0.5 um/px: fibrous stroma with two cellular patterns,
epithelium (large oval nuclei) and lymphocytes (small round nuclei), of the same area in every slide. In class
`separate`, they lie on opposite sides of the tissue; in class `mixed`, small patches of them alternate. So the classes
differ in the arrangement of the patterns, not in their colour or amount.
"""

import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from numpy.random import Generator

from roformermil.runtime.files import atomic_path
from roformermil.runtime.records import write_rows

MPP = 0.5
CLASSES = ("separate", "mixed")
MIN_SIDE, MAX_SIDE = 2000, 2400  # level-0 pixels
PATTERN_FRACTION = 0.35  # of the tissue that each of the two patterns covers
MIXED_PATCH, SEPARATE_EDGE = 60, 300  # pixels: size of the patches; of the waves of the border between the patterns
GLASS, STROMA, EPITHELIUM = (243, 241, 243), (226, 164, 196), (198, 130, 178)  # RGB
OVAL_NUCLEUS, LYMPHOCYTE = (104, 62, 132), (78, 46, 118)
Range = tuple[float, float]
Colour = tuple[int, int, int]


def write_demo_slides(folder: Path, slides: int = 24, seed: int = 0) -> Path:
    """Write `slides` slides, two per patient, and their slide sheet; returns the sheet's path.

    Slide k depends on `seed` and k only. Slides that exist are kept.
    """
    rows = []
    for k in range(slides):
        slide_id, patient_id = f"demo_{k:02d}", f"patient_{k // 2:02d}"
        label, path = CLASSES[k // 2 % 2], f"{slide_id}.tif"
        rows.append({"slide_id": slide_id, "patient_id": patient_id, "label": label, "path": path})
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
        jobs = [pool.submit(_write_slide, folder / row["path"], row["label"], (seed, k)) for k, row in enumerate(rows)]
        for job in jobs:
            job.result()
    sheet = folder / "slides.csv"
    write_rows(sheet, rows)
    return sheet


def _write_slide(path: Path, label: str, seed: tuple[int, int]) -> None:
    if path.exists():
        return
    rng = np.random.default_rng(seed)
    width, height = rng.integers(MIN_SIDE, MAX_SIDE + 1, size=2).tolist()
    with atomic_path(path) as scratch:
        write_pyramid(scratch, draw_tissue(rng, width, height, label))


def write_pyramid(path: Path, image: np.ndarray, mpp: float | None = MPP) -> None:
    """Write (h, w, 3) uint8 RGB as a tiled JPEG TIFF with levels at 1, 1/2 and 1/4, and the resolution in its tags."""
    options: dict[str, Any] = {"tile": (256, 256), "photometric": "rgb", "compression": "jpeg", "metadata": None}
    options |= {"compressionargs": {"level": 85}, "resolutionunit": "CENTIMETER" if mpp else "NONE"}
    with tifffile.TiffWriter(path) as tiff:
        for level in range(3):
            zoom = 0.5**level
            pixels = cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA) if level else image
            pixels_per_cm = 1e4 * zoom / mpp if mpp else 1.0
            tiff.write(pixels, subfiletype=int(level > 0), resolution=(pixels_per_cm, pixels_per_cm), **options)


def draw_tissue(rng: Generator, width: int, height: int, label: str) -> np.ndarray:
    """Draw a slide of class `label`: (height, width, 3) uint8 RGB."""
    tissue = _tissue_mask(rng, width, height)
    epithelium, lymphocytes = _pattern_masks(rng, tissue, label)
    streaks = rng.normal(size=(height // 2 + 1, width // 16 + 1)).astype(np.float32)  # horizontal
    fibres = cv2.resize(streaks, (width, height), interpolation=cv2.INTER_LINEAR)[..., None]
    image = np.full((height, width, 3), GLASS, np.float32)
    image[tissue] = (np.array(STROMA, np.float32) + fibres * np.array((14, 26, 16), np.float32))[tissue]
    image[epithelium] = (np.array(EPITHELIUM, np.float32) + fibres * 6)[epithelium]
    image = image.clip(0, 255).astype(np.uint8)
    _draw_nuclei(rng, image, epithelium, 1 / 420, (7, 10), (0.55, 0.75), OVAL_NUCLEUS)
    _draw_nuclei(rng, image, lymphocytes, 1 / 130, (3, 4), (0.9, 1.0), LYMPHOCYTE)
    _draw_nuclei(rng, image, tissue & ~epithelium & ~lymphocytes, 1 / 3000, (6, 9), (0.25, 0.35), OVAL_NUCLEUS)
    grain = rng.normal(0, 3, (height, width, 1))
    return (cv2.GaussianBlur(image, (0, 0), 0.8) + grain).clip(0, 255).astype(np.uint8)


def _tissue_mask(rng: Generator, width: int, height: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    radius = np.hypot(2 * x / width - 1, 2 * y / height - 1)
    return radius + 0.12 * _smooth_noise(rng, width, height, 300) < 0.88


def _pattern_masks(rng: Generator, tissue: np.ndarray, label: str) -> tuple[np.ndarray, np.ndarray]:
    """The regions of the two patterns, (height, width) bool each: where a ramp across the slide (`separate`) or noise
    (`mixed`) is lowest and where it is highest."""
    height, width = tissue.shape
    if label == "separate":
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        angle = rng.uniform(0, 2 * np.pi)
        field = (np.cos(angle) * x + np.sin(angle) * y) / 800 + 0.25 * _smooth_noise(rng, width, height, SEPARATE_EDGE)
    else:
        field = _smooth_noise(rng, width, height, MIXED_PATCH)
    low, high = np.quantile(field[tissue], (PATTERN_FRACTION, 1 - PATTERN_FRACTION))
    return tissue & (field < low), tissue & (field > high)


def _smooth_noise(rng: Generator, width: int, height: int, scale: int) -> np.ndarray:
    """Noise whose bumps are about `scale` pixels wide: (height, width) float32."""
    coarse = rng.normal(size=(height // scale + 3, width // scale + 3)).astype(np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def _draw_nuclei(
    rng: Generator, image: np.ndarray, mask: np.ndarray, density: float, radius: Range, roundness: Range, colour: Colour
) -> None:
    """Draw `density` ellipses per pixel at random places of `mask`, semi-axes `radius` and `radius` x `roundness`."""
    height, width = mask.shape
    centres = rng.integers(0, (width, height), (int(density * mask.size), 2))
    centres = centres[mask[centres[:, 1], centres[:, 0]]]
    radii, angles = rng.uniform(*radius, len(centres)), rng.uniform(0, 180, len(centres))
    ratios, shades = rng.uniform(*roundness, len(centres)), rng.normal(0, 8, len(centres))
    for centre, major, ratio, angle, shade in zip(centres.tolist(), radii, ratios, angles, shades, strict=True):
        axes = (round(16 * major), round(16 * major * ratio))  # in 1/16 pixel, by shift=4
        tone = [float(c + shade) for c in colour]
        cv2.ellipse(image, [16 * c for c in centre], axes, float(angle), 0, 360, tone, -1, cv2.LINE_AA, shift=4)
