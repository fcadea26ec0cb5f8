"""Square cells of tissue as hematoxylin and eosin stain it, which fit together in any order.

At its border every cell shows the same fibres, which continue at the opposite border, so that no seam tells which cells
lie side by side, and no cell shows anything of its neighbours.
"""

import cv2
import numpy as np
from numpy.random import Generator

CELL = 256  # side in pixels of 0.5 um
KINDS = ("tumour", "lymphocytes", "stroma")
TUMOUR, LYMPHOCYTES, STROMA = range(len(KINDS))
BORDER, BLEND = 6, 40  # pixels: outermost, where all cells are the same; within which fibres become a cell's own

GLASS, PALE_FIBRE, DARK_FIBRE, CYTOPLASM, CROWD = (
    np.array(rgb, np.float32)
    for rgb in ((243, 241, 243), (238, 206, 222), (218, 148, 184), (196, 138, 188), (214, 176, 214))
)
TUMOUR_NUCLEUS, LYMPHOCYTE, FIBROBLAST = (112, 72, 146), (70, 46, 116), (112, 70, 138)
CHROMATIN, NUCLEOLUS = (42, 40, 26), -12  # added to a tumour nucleus' colour within its rim; to that of its nucleoli
Y, X = np.mgrid[0:CELL, 0:CELL].astype(np.float32)
EDGE = np.minimum.reduce([X, Y, CELL - 1 - X, CELL - 1 - Y])  # distance from the border


class CellPainter:
    """Draws cells that fit together. rng: draws what they have in common."""

    def __init__(self, rng: Generator):
        self._fibres, self._other_fibres = _draw_fibres(rng), _draw_fibres(rng)
        self._clouds = _periodic_noise(rng, 9, 9)
        self._grain = rng.normal(0, 3, (CELL, CELL, 1)).astype(np.float32)
        self.glass = self._finish(np.broadcast_to(GLASS, (CELL, CELL, 3)))
        self.background = self._finish(_stain(self._fibres))  # stroma without nuclei

    def draw(self, rng: Generator, kind: int) -> np.ndarray:
        """A cell of a kind, an index of KINDS: (CELL, CELL, 3) uint8 RGB."""
        own = ((EDGE - BORDER) / BLEND).clip(0, 1)
        fibres = self._fibres + own * own * (3 - 2 * own) * (_roll(rng, self._other_fibres) - self._fibres)
        image = _stain(fibres)
        if kind == TUMOUR:
            nest = _draw_blob(rng, rng.uniform(0.86, 0.97), softness=0.008)
            cytoplasm = CYTOPLASM + rng.normal(0, 4, 3) + 6 * _roll(rng, self._clouds)[..., None]
            image = _blend(image, cytoplasm, nest)
            _draw_tumour_nuclei(rng, image, _scatter(rng, nest > 0.9, spacing=27, margin=12))
        elif kind == LYMPHOCYTES:
            crowd = _draw_blob(rng, rng.uniform(0.8, 0.95), softness=0.03)
            image = _blend(image, CROWD, 0.4 * crowd)
            for centre in _scatter(rng, crowd > 0.6, spacing=14, margin=7, share=0.88):
                _draw_nucleus(rng, image, centre, (5, 6.2), (0.85, 1), LYMPHOCYTE)
        else:
            for centre in _scatter(rng, EDGE >= BORDER, spacing=44, margin=16, share=0.45):
                _draw_nucleus(rng, image, centre, (9, 13), (0.22, 0.34), FIBROBLAST, angle=float(rng.normal(0, 18)))
        image = cv2.GaussianBlur(image, (0, 0), 0.8)
        return np.where((EDGE < BORDER / 2)[..., None], self.background, self._finish(image))

    def _finish(self, image: np.ndarray) -> np.ndarray:
        return (image + self._grain).clip(0, 255).astype(np.uint8)


def _periodic_noise(rng: Generator, across: float, along: float) -> np.ndarray:
    """Noise that continues at the opposite border, (CELL, CELL) float32 with mean 0 and standard deviation 1.

    across, along: frequencies, in waves per cell, up to which it varies over rows and over columns.
    """
    frequency = np.fft.fftfreq(CELL) * CELL
    spectrum = np.exp(-((frequency[:, None] / across) ** 2) - (frequency / along) ** 2)
    noise = np.fft.ifft2(np.fft.fft2(rng.normal(size=(CELL, CELL))) * spectrum).real
    return ((noise - noise.mean()) / noise.std()).astype(np.float32)


def _draw_fibres(rng: Generator) -> np.ndarray:
    """Wavy fibres, mostly horizontal, that continue at the opposite border: (CELL, CELL) float32 from 0 (pale) to 1."""
    streaks = np.tile(_periodic_noise(rng, 26, 5), (3, 3))
    x, y = (axis + CELL + 14 * _periodic_noise(rng, 3, 3) for axis in (X, Y))
    return 1 / (1 + np.exp(-1.3 * cv2.remap(streaks, x, y, cv2.INTER_LINEAR)))


def _stain(fibres: np.ndarray) -> np.ndarray:
    return PALE_FIBRE + fibres[..., None] * (DARK_FIBRE - PALE_FIBRE)


def _roll(rng: Generator, periodic: np.ndarray) -> np.ndarray:
    down, right = rng.integers(0, CELL, 2).tolist()
    return np.roll(periodic, (down, right), (0, 1))


def _blend(image: np.ndarray, colour: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    return (image + opacity[..., None] * (colour - image)).clip(0, 255).astype(np.float32)


def _draw_blob(rng: Generator, size: float, softness: float) -> np.ndarray:
    """An irregular region around the middle of a cell: (CELL, CELL) float32 from 0 to 1 inside.

    size: its radius, softness: the width of its edge, as fractions of half a cell.
    """
    x, y = ((axis + 0.5) / CELL * 2 - 1 for axis in (X, Y))
    radius, angle = (np.abs(x) ** 2.8 + np.abs(y) ** 2.8) ** (1 / 2.8), np.arctan2(y, x)  # between circle and square
    for wave in range(2, 7):
        radius = radius - 0.035 * rng.normal() * np.cos(wave * angle + rng.uniform(0, 2 * np.pi))
    return np.where(EDGE < BORDER, 0, 1 / (1 + np.exp((radius - size) / softness)))


def _scatter(rng: Generator, mask: np.ndarray, spacing: int, margin: int, share: float = 1.0) -> np.ndarray:
    """Centres of nuclei, (n, 2) float (x, y): a share of a hexagonal grid's points, each moved at random, without those
    that are nearer than `margin` to the border of the mask (CELL, CELL)."""
    rows = np.arange(0, CELL, 0.87 * spacing)
    x, y = np.meshgrid(np.arange(0, CELL, spacing), rows)
    x = x + spacing / 2 * (np.arange(len(rows)) % 2)[:, None]
    points = np.stack([x.ravel(), y.ravel()], axis=1) + rng.uniform(0, spacing, 2)
    points = (points + rng.normal(0, 0.16 * spacing, points.shape))[rng.uniform(size=len(points)) < share]
    points = points[((points >= 0) & (points < CELL)).all(axis=1)]
    room = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    column, row = points.astype(int).T
    return points[room[row, column] >= margin]


def _draw_tumour_nuclei(rng: Generator, image: np.ndarray, centres: np.ndarray) -> None:
    """Large and uneven nuclei with pale chromatin, a dark rim and one or two nucleoli."""
    for centre in centres:
        radius, roundness, angle = rng.uniform(8.5, 12.5), rng.uniform(0.65, 0.95), rng.uniform(0, 180)
        tone = np.array(TUMOUR_NUCLEUS) + rng.normal(0, 9)
        _draw_ellipse(image, centre, radius, roundness * radius, angle, tone)
        _draw_ellipse(image, centre, 0.78 * radius, 0.78 * roundness * radius, angle, tone + CHROMATIN)
        for _ in range(int(rng.integers(1, 3))):
            place = centre + rng.uniform(-0.35, 0.35, 2) * roundness * radius
            _draw_ellipse(image, place, 2.2, 2.2, 0, tone + NUCLEOLUS)


def _draw_nucleus(
    rng: Generator,
    image: np.ndarray,
    centre: np.ndarray,
    radius: tuple[float, float],
    roundness: tuple[float, float],
    colour: tuple[int, int, int],
    angle: float | None = None,
) -> None:
    """Draw an ellipse with a semi-axis and a ratio of the axes within these ranges, by default at any angle."""
    long, ratio = rng.uniform(*radius), rng.uniform(*roundness)
    angle = rng.uniform(0, 180) if angle is None else angle
    _draw_ellipse(image, centre, long, ratio * long, angle, np.array(colour) + rng.normal(0, 9))


def _draw_ellipse(
    image: np.ndarray, centre: np.ndarray, long: float, short: float, angle: float, colour: np.ndarray
) -> None:
    middle, axes = [round(16 * c) for c in centre.tolist()], (round(16 * long), round(16 * short))  # 1/16 px, by shift
    cv2.ellipse(image, middle, axes, angle, 0, 360, colour.tolist(), -1, cv2.LINE_AA, shift=4)
