"""An irregular piece of stained tissue on glass, of any size, for tests that need a slide and not the demo's."""

import cv2
import numpy as np
from numpy.random import Generator

GLASS, STROMA, EPITHELIUM = (243, 241, 243), (226, 164, 196), (198, 130, 178)  # RGB
OVAL_NUCLEUS, LYMPHOCYTE = (104, 62, 132), (78, 46, 118)
PATTERN_FRACTION = 0.35  # of the tissue that epithelium covers, and that lymphocytes cover


def draw_tissue(rng: Generator, width: int, height: int) -> np.ndarray:
    """Stroma with patches of epithelium and of lymphocytes, at 0.5 um/px: (height, width, 3) uint8 RGB."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    radius = np.hypot(2 * x / width - 1, 2 * y / height - 1)
    tissue = radius + 0.12 * _smooth_noise(rng, width, height, 300) < 0.88
    field = _smooth_noise(rng, width, height, 60)
    low, high = np.quantile(field[tissue], (PATTERN_FRACTION, 1 - PATTERN_FRACTION))
    epithelium, lymphocytes = tissue & (field < low), tissue & (field > high)
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


def _smooth_noise(rng: Generator, width: int, height: int, scale: int) -> np.ndarray:
    """Noise whose bumps are about `scale` pixels wide: (height, width) float32."""
    coarse = rng.normal(size=(height // scale + 3, width // scale + 3)).astype(np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def _draw_nuclei(rng, image, mask, density, radius, roundness, colour) -> None:
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
