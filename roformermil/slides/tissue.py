"""Where the tissue is: a mask at low resolution, its outline for people, its polygons for QuPath."""

import json
from typing import Any

import cv2
import numpy as np

from roformermil.config import Tissue
from roformermil.errors import SlideError, Status
from roformermil.slides.artefacts import folds, pen_marks

DARK = 64  # of 255: most of a brightfield slide, tissue or glass, is brighter; most of a fluorescence slide is black
OUTLINE = (0, 160, 0)
# outermost pixels of a view that are not believed: coarse levels end in colours that their compression made up
EDGE = 2


def segment(image: np.ndarray, settings: Tissue) -> np.ndarray:
    """Tissue mask of an overview.

    image: (h, w, 3) uint8 RGB at `settings.mpp`. Returns (h, w) bool. Whatever the method: small regions and small holes
    are dropped, and pen marks and folds where the settings say so.

    Raises SlideError `not_brightfield` for an image that is dark where a brightfield slide is light, and
    `needs_tiatoolbox` where a method does and it is not installed.
    """
    if np.median(image.max(axis=2)) < DARK:
        raise SlideError(
            Status.NOT_BRIGHTFIELD, "the slide is dark (fluorescence?): tissue is sought by stain on a light background"
        )
    if min(image.shape[:2]) > 4 * EDGE:
        inner = image[EDGE:-EDGE, EDGE:-EDGE]
        image = cv2.copyMakeBorder(inner, EDGE, EDGE, EDGE, EDGE, cv2.BORDER_REPLICATE)
    if settings.needs_tiatoolbox:
        toolbox = _toolbox(settings.method)
        mask = (
            toolbox.morphological(image, settings.mpp)
            if settings.method == "morphological"
            else toolbox.grandqc(image, settings.mpp, settings.weights)
        ).astype(np.uint8)
    else:
        mask = by_saturation(image, settings)
    mask = _drop_small(mask, settings.min_area / settings.mpp**2)
    mask = 1 - _drop_small(1 - mask, settings.min_hole / settings.mpp**2)
    if settings.drop_folds:
        mask &= ~folds(image, mask, settings.mpp)
    if settings.drop_pen:
        mask &= ~pen_marks(image, settings.mpp)
    return _drop_small(mask, settings.min_area / settings.mpp**2).astype(bool)


def by_saturation(image: np.ndarray, settings: Tissue) -> np.ndarray:
    """Saturation, median filter, threshold, closing, with the values of CLAM's segmentation (Lu et al., Nature Biomedical
    Engineering 2021). Returns (h, w) of 0 and 1."""
    saturation = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)[..., 1]
    saturation = cv2.medianBlur(saturation, settings.median)
    otsu = cv2.THRESH_OTSU if settings.method == "otsu" else 0
    _, mask = cv2.threshold(saturation, settings.threshold, 1, cv2.THRESH_BINARY | otsu)
    return _close(mask, settings.close)


def _toolbox(method: str) -> Any:
    try:
        from roformermil.slides import toolbox
    except ModuleNotFoundError as error:
        raise SlideError(
            Status.NEEDS_TIATOOLBOX,
            f"tissue.method {method} is tiatoolbox's, which has an environment of its own: `make tiatoolbox`",
        ) from error
    return toolbox


def _close(mask: np.ndarray, width: int) -> np.ndarray:
    """Morphological closing. An even kernel has no middle: the erosion mirrors the dilation's, or the mask would shift."""
    kernel, anchor = np.ones((width, width), np.uint8), width // 2
    grown = cv2.dilate(mask, kernel, anchor=(anchor, anchor))
    return cv2.erode(grown, kernel, anchor=(width - 1 - anchor, width - 1 - anchor))


def _drop_small(mask: np.ndarray, min_pixels: float) -> np.ndarray:
    """Remove connected regions of fewer pixels. mask: (h, w) of 0 and 1."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    keep = stats[:, cv2.CC_STAT_AREA] >= min_pixels
    keep[0] = False  # label 0 is the background
    return keep[labels].astype(np.uint8)


def outline(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A view (h, w, 3) uint8 RGB of the slide with the mask's outline drawn on it. The mask may be of another size."""
    large = cv2.resize(mask.astype(np.uint8), image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(large, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    thickness = max(1, round(max(image.shape) / 320))
    return cv2.drawContours(image.copy(), contours, -1, OUTLINE, thickness)


def to_geojson(mask: np.ndarray, size: tuple[int, int], origin: tuple[int, int] = (0, 0)) -> str:
    """The mask as GeoJSON polygons in level-0 pixels, one feature a region, holes as inner rings.

    mask: (h, w) bool over a slide of `size` (width, height) level-0 pixels; origin: where positions count from, as QuPath
    crops some formats to what was scanned. QuPath opens the file as annotations.
    """
    # Contours run through pixel centres; enlarging and cutting there keeps nearly all of the outer pixels' area.
    zoom = 2
    large = cv2.resize(mask.astype(np.uint8), None, fx=zoom, fy=zoom, interpolation=cv2.INTER_NEAREST)
    contours, tree = cv2.findContours(large, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    scale = np.array([size[0] / large.shape[1], size[1] / large.shape[0]])
    features = []
    for k, contour in enumerate(contours):
        if tree[0][k][3] != -1 or len(contour) < 3:
            continue  # a hole: it is written with its region
        rings, hole = [_ring(contour, scale, origin)], tree[0][k][2]
        while hole != -1:
            if len(contours[hole]) >= 3:
                rings.append(_ring(contours[hole], scale, origin))
            hole = tree[0][hole][0]
        features.append({
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": rings},
            "properties": {"objectType": "annotation", "classification": {"name": "Tissue"}},
        })  # fmt: skip
    return json.dumps({"type": "FeatureCollection", "features": features}, separators=(",", ":"))


def _ring(contour: np.ndarray, scale: np.ndarray, origin: tuple[int, int]) -> list[list[float]]:
    points = ((contour[:, 0] + 0.5) * scale - origin).round(1).tolist()
    return [*points, points[0]]
