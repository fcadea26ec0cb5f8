"""Tissue segmentation: the mask at low resolution, its outline on a picture of the slide, its polygons for QuPath."""

import json

import cv2
import numpy as np

from roformermil.config import Tissue
from roformermil.errors import SlideError, Status
from roformermil.slides.artefacts import pen_marks, tissue_folds
from roformermil.slides.background import find_tissue
from roformermil.slides.padding import find_padding

DARK = 64  # of 255: at least half of a brightfield slide is brighter; most of a fluorescence slide is black
# of 255: at least this fraction of a brightfield slide beside dark padding is brighter
BRIGHT, LEAST_BRIGHT = 96, 0.05
LITTLE_TISSUE, MUCH_TISSUE, TISSUE_BORDER = 0.01, 0.95, 0.5  # fractions of the scan and of its border that are odd
OUTLINE_COLOUR = (0, 160, 0)
EDGE = 2  # outermost pixels of an overview that are ignored: compression discolours the edge of coarse levels


def segment(image: np.ndarray, settings: Tissue) -> np.ndarray:
    """Tissue mask of an overview, (h, w) bool. image: (h, w, 3) uint8 RGB at `settings.mpp`.

    Small regions are dropped and small holes filled; pen marks and tissue folds are dropped where the settings say so.
    With every method padding is no tissue, nor is anything on a slide that nowhere differs from its background.
    Raises SlideError `not_brightfield` for a dark image, `needs_tiatoolbox` where the method needs it and it is absent.
    """
    if min(image.shape[:2]) > 4 * EDGE:
        inner = image[EDGE:-EDGE, EDGE:-EDGE]
        image = cv2.copyMakeBorder(inner, EDGE, EDGE, EDGE, EDGE, cv2.BORDER_REPLICATE)
    min_region, min_hole = settings.min_area / settings.mpp**2, settings.min_hole / settings.mpp**2  # pixels
    padding = find_padding(image, settings.mpp)
    _check_brightfield(image, padding)
    differing = _drop_small(find_tissue(image, padding, settings.mpp), min_region)
    if not differing.any():
        return differing.astype(bool)
    mask = differing if settings.method == "background" else _mask_by_method(image, settings)
    mask = _drop_small(mask * ~padding, min_region)
    mask = 1 - _drop_small(1 - mask, min_hole)
    if settings.drop_folds:
        mask &= ~tissue_folds(image, mask, settings.mpp)
    if settings.drop_pen:
        mask &= ~pen_marks(image, settings.mpp)
    return _drop_small(mask, min_region).astype(bool)


def tissue_warnings(mask: np.ndarray) -> list[str]:
    """What is odd about a slide's tissue mask, (h, w) bool."""
    tissue = mask.mean()
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]).mean()
    if tissue > MUCH_TISSUE or border > TISSUE_BORDER:
        odd = (
            f"{tissue:.0%} of the scan is tissue"
            if tissue > MUCH_TISSUE
            else f"{border:.0%} of the scan's border is tissue"
        )
        doubt = "it is cropped tightly, or glass was taken for tissue"
    elif 0 < tissue < LITTLE_TISSUE:
        odd, doubt = f"only {tissue:.1%} of the scan is tissue", "pale tissue may have been missed"
    else:
        return []
    remedy = "Look at its outline (tissue.html of the data set's results, or the picture that predict draws). Where it is wrong, give this slide another method"
    remedy += " (slide sheet: column tissue) or, before training, set another tissue.method"
    return [f"{odd}: {doubt}. {remedy}"]


def _check_brightfield(image: np.ndarray, padding: np.ndarray) -> None:
    if np.median(image.max(axis=2)) >= DARK:
        return
    scanned = image[~padding]
    if padding.any() and len(scanned) and (scanned.min(axis=1) >= BRIGHT).mean() >= LEAST_BRIGHT:
        return
    message = "most of the slide is dark (fluorescence?); only stained tissue on a bright background can be segmented"
    raise SlideError(Status.NOT_BRIGHTFIELD, message, "exclude this slide")


def _mask_by_method(image: np.ndarray, settings: Tissue) -> np.ndarray:
    return _toolbox_mask(image, settings) if settings.needs_tiatoolbox else _saturation_mask(image, settings)


def _saturation_mask(image: np.ndarray, settings: Tissue) -> np.ndarray:
    """Saturation, median filter, threshold, closing, with the values of CLAM's segmentation (Lu et al., Nature
    Biomedical Engineering 2021): (h, w) of 0 and 1."""
    saturation = cv2.medianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2HSV)[..., 1], settings.median)
    otsu = cv2.THRESH_OTSU if settings.method == "otsu" else 0
    _, mask = cv2.threshold(saturation, settings.threshold, 1, cv2.THRESH_BINARY | otsu)
    return _close_gaps(mask, settings.close)


def _toolbox_mask(image: np.ndarray, settings: Tissue) -> np.ndarray:
    """A mask by one of tiatoolbox's methods: (h, w) of 0 and 1."""
    try:
        from roformermil.slides import toolbox
    except ModuleNotFoundError as error:
        message = f"tissue.method {settings.method} needs tiatoolbox, which has its own environment: `make tiatoolbox`"
        raise SlideError(Status.NEEDS_TIATOOLBOX, message) from error
    if settings.method == "morphological":
        return toolbox.morphological_mask(image, settings.mpp).astype(np.uint8)
    return toolbox.grandqc_mask(image, settings.mpp, settings.weights).astype(np.uint8)


def _close_gaps(mask: np.ndarray, width: int) -> np.ndarray:
    """Morphological closing. An even kernel has no centre: the erosion mirrors the dilation's anchor, or all shifts."""
    kernel, anchor = np.ones((width, width), np.uint8), width // 2
    dilated = cv2.dilate(mask, kernel, anchor=(anchor, anchor))
    return cv2.erode(dilated, kernel, anchor=(width - 1 - anchor, width - 1 - anchor))


def _drop_small(mask: np.ndarray, min_pixels: float) -> np.ndarray:
    """The mask without connected regions of fewer than `min_pixels`. mask: (h, w) of 0 and 1."""
    _, regions, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    keep = stats[:, cv2.CC_STAT_AREA] >= min_pixels
    keep[0] = False  # the background
    return keep[regions].astype(np.uint8)


def draw_outline(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The picture of a slide, (h, w, 3) uint8 RGB, with the mask's outline on it. The mask may have another size."""
    large = cv2.resize(mask.astype(np.uint8), image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(large, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    thickness = max(1, round(max(image.shape) / 320))
    return cv2.drawContours(image.copy(), contours, -1, OUTLINE_COLOUR, thickness)


def mask_to_geojson(mask: np.ndarray, size: tuple[int, int], origin: tuple[int, int] = (0, 0)) -> str:
    """The mask as GeoJSON for QuPath: one polygon per region, its holes as inner rings.

    mask: (h, w) bool over a slide of `size` (width, height) level-0 pixels; origin: level-0 position from which
    coordinates count, since QuPath crops some formats to the scanned region.
    """
    # Contours run through the centres of the outermost pixels: in an enlarged mask they enclose nearly all their area.
    large = cv2.resize(mask.astype(np.uint8), None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    contours, hierarchy = cv2.findContours(large, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    scale = np.array([size[0] / large.shape[1], size[1] / large.shape[0]])
    features = []
    for k, contour in enumerate(contours):
        _, _, hole, parent = hierarchy[0][k]
        if parent != -1 or len(contour) < 3:
            continue  # a hole, which is written with its region
        rings = [_to_ring(contour, scale, origin)]
        while hole != -1:
            if len(contours[hole]) >= 3:
                rings.append(_to_ring(contours[hole], scale, origin))
            hole = hierarchy[0][hole][0]
        geometry = {"type": "Polygon", "coordinates": rings}
        properties = {"objectType": "annotation", "classification": {"name": "Tissue"}}
        features.append({"type": "Feature", "geometry": geometry, "properties": properties})
    return json.dumps({"type": "FeatureCollection", "features": features}, separators=(",", ":"))


def _to_ring(contour: np.ndarray, scale: np.ndarray, origin: tuple[int, int]) -> list[list[float]]:
    points = ((contour[:, 0] + 0.5) * scale - origin).round(1).tolist()
    return [*points, points[0]]
