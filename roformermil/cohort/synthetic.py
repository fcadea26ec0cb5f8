"""Slides made from a seed, for a demo that needs no download.

Each is an irregular piece of tissue on white glass at 0.5 um/px: fibrous stroma with two cellular patterns in it,
epithelium (large oval nuclei) and lymphocytes (small round ones). Both cover the same share of the tissue in every
slide. In class `separate` each keeps to a side of its own; in class `mixed` small patches of the two alternate. So the
classes differ in how the patterns are arranged and mixed, not in colour or in amount.
"""

import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import tifffile

from roformermil.runtime.files import atomic_path, write_text

MPP = 0.5
CLASSES = ("separate", "mixed")
SIDES = (2000, 2400)  # level-0 pixels
SHARE = 0.35  # of the tissue, for each of the two patterns
MIXED_PATCH, SEPARATE_EDGE = 60, 300  # pixels: size of the patches, waviness of the border
GLASS, STROMA, EPITHELIUM = (243, 241, 243), (226, 164, 196), (198, 130, 178)  # RGB
OVAL_NUCLEUS, LYMPHOCYTE = (104, 62, 132), (78, 46, 118)


def write_demo_slides(folder: Path, slides: int = 24, seed: int = 0) -> Path:
    """Write `slides` slides, two a patient, and their slide sheet; returns the sheet's path.

    Equal arguments give equal slides. Slides that are there already stay.
    """
    rows = []
    for k in range(slides):
        patient = k // 2
        rows.append((f"demo_{k:02d}", f"patient_{patient:02d}", CLASSES[patient % 2], f"demo_{k:02d}.tif"))
    jobs = [(folder / path, label, seed, k) for k, (_, _, label, path) in enumerate(rows)]
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
        list(pool.map(_write_slide, *zip(*jobs, strict=True)))
    sheet = folder / "slides.csv"
    write_text(sheet, "\n".join(",".join(row) for row in [("slide_id", "patient_id", "label", "path"), *rows]) + "\n")
    return sheet


def _write_slide(path: Path, label: str, seed: int, number: int) -> None:
    if path.exists():
        return
    rng = np.random.default_rng((seed, number))
    width, height = rng.integers(SIDES[0], SIDES[1] + 1, size=2).tolist()
    with atomic_path(path) as scratch:
        write_pyramid(scratch, draw_tissue(rng, width, height, label))


def write_pyramid(path: Path, image: np.ndarray, mpp: float | None = MPP) -> None:
    """Write (h, w, 3) uint8 RGB as a tiled JPEG TIFF, levels at a half and a quarter, resolution in its tags."""
    with tifffile.TiffWriter(path) as tiff:
        for level in range(3):
            zoom = 0.5**level
            shrunk = cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA) if level else image
            per_cm = 1e4 * zoom / mpp if mpp else 1.0
            tiff.write(
                shrunk,
                tile=(256, 256),
                photometric="rgb",
                compression="jpeg",
                compressionargs={"level": 85},
                resolution=(per_cm, per_cm),
                resolutionunit="CENTIMETER" if mpp else "NONE",
                subfiletype=int(level > 0),
                metadata=None,
            )


def draw_tissue(rng: np.random.Generator, width: int, height: int, label: str) -> np.ndarray:
    """A slide's pixels: (height, width, 3) uint8 RGB."""
    tissue = _tissue(rng, width, height)
    epithelium, lymphocytes = _patterns(rng, tissue, label)
    fibres = _fibres(rng, width, height)[..., None]
    image = np.full((height, width, 3), GLASS, np.float32)
    image[tissue] = (np.array(STROMA, np.float32) + fibres * np.array((14, 26, 16), np.float32))[tissue]
    image[epithelium] = (np.array(EPITHELIUM, np.float32) + fibres * 6)[epithelium]
    image = image.clip(0, 255).astype(np.uint8)
    _draw_nuclei(rng, image, epithelium, 1 / 420, (7, 10), (0.55, 0.75), OVAL_NUCLEUS)
    _draw_nuclei(rng, image, lymphocytes, 1 / 130, (3, 4), (0.9, 1.0), LYMPHOCYTE)
    _draw_nuclei(rng, image, tissue & ~epithelium & ~lymphocytes, 1 / 3000, (6, 9), (0.25, 0.35), OVAL_NUCLEUS)
    grain = rng.normal(0, 3, (height, width, 1))
    return (cv2.GaussianBlur(image, (0, 0), 0.8) + grain).clip(0, 255).astype(np.uint8)


def _tissue(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """An irregular blob in the middle: (height, width) bool."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    radius = np.hypot(2 * x / width - 1, 2 * y / height - 1)
    return radius + 0.12 * _smooth_noise(rng, width, height, 300) < 0.88


def _patterns(rng: np.random.Generator, tissue: np.ndarray, label: str) -> tuple[np.ndarray, np.ndarray]:
    """Where the two patterns are: the low and the high end of a field, a ramp or patches."""
    height, width = tissue.shape
    if label == "separate":
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        angle = rng.uniform(0, 2 * np.pi)
        field = (np.cos(angle) * x + np.sin(angle) * y) / 800 + 0.25 * _smooth_noise(rng, width, height, SEPARATE_EDGE)
    else:
        field = _smooth_noise(rng, width, height, MIXED_PATCH)
    low, high = np.quantile(field[tissue], (SHARE, 1 - SHARE))
    return tissue & (field < low), tissue & (field > high)


def _smooth_noise(rng: np.random.Generator, width: int, height: int, scale: int) -> np.ndarray:
    coarse = rng.normal(size=(height // scale + 3, width // scale + 3)).astype(np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def _fibres(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    noise = rng.normal(size=(height // 2 + 1, width // 16 + 1)).astype(np.float32)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR)


def _draw_nuclei(
    rng: np.random.Generator,
    image: np.ndarray,
    where: np.ndarray,
    density: float,
    radius: tuple[float, float],
    roundness: tuple[float, float],
    colour: tuple[int, int, int],
) -> None:
    """Scatter ellipses over `where`: `density` a pixel, semi-axes `radius` and that times `roundness`."""
    height, width = where.shape
    centres = rng.integers(0, (width, height), (int(density * where.size), 2))
    centres = centres[where[centres[:, 1], centres[:, 0]]]
    sizes, angles = rng.uniform(*radius, len(centres)), rng.uniform(0, 180, len(centres))
    flatness, shades = rng.uniform(*roundness, len(centres)), rng.normal(0, 8, len(centres))
    for centre, size, flat, angle, shade in zip(centres.tolist(), sizes, flatness, angles, shades, strict=True):
        axes = (round(16 * size), round(16 * size * flat))  # sixteenths of a pixel: shift=4
        tone = [float(c + shade) for c in colour]
        cv2.ellipse(image, [16 * c for c in centre], axes, float(angle), 0, 360, tone, -1, cv2.LINE_AA, shift=4)
