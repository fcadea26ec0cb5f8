"""tiatoolbox (Pocock et al. 2022, doi 10.1038/s43856-022-00186-5): a reader for more formats, and two tissue maskers.

tiatoolbox has its own environment (`make tiatoolbox`), so this module is imported only where it is needed.
"""

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from tiatoolbox import rcParam
from tiatoolbox.models.architecture import get_pretrained_model
from tiatoolbox.tools.tissuemask import MorphologicalMasker
from tiatoolbox.wsicore.wsireader import WSIReader

from roformermil.errors import WeightsError
from roformermil.slides.scale import MPP_X, MPP_Y, POWER

GRANDQC = "grandqc_tissue_detection"
WINDOW, STRIDE = 512, 256  # pixels, as tiatoolbox runs GrandQC


class ToolboxBackend:
    """OME-TIFF, JP2, OME-Zarr."""

    name = "tiatoolbox"

    def __init__(self, path: Path):
        self._slide = WSIReader.open(path)
        self.format = "".join(path.suffixes[-2:]).lower()
        info = self._slide.info
        self.level_sizes = tuple((int(w), int(h)) for w, h in info.level_dimensions)
        self.downsamples = tuple(map(float, info.level_downsamples))
        mpp = (None, None) if info.mpp is None else info.mpp
        values = {POWER: info.objective_power, MPP_X: mpp[0], MPP_Y: mpp[1]}
        self.properties = {name: str(value) for name, value in values.items() if value is not None}

    def read(self, x: int, y: int, width: int, height: int, level: int) -> np.ndarray:
        return self._slide.read_rect((x, y), (width, height), resolution=level, units="level")

    def close(self) -> None:
        """tiatoolbox's readers have nothing to close."""


def morphological_mask(image: np.ndarray, mpp: float) -> np.ndarray:
    """Otsu's threshold on grey levels, small regions dropped, dilated: (h, w) bool. image: (h, w, 3) uint8 RGB."""
    return MorphologicalMasker(mpp=mpp).fit_transform([image])[0].astype(bool)


def load_grandqc(weights: Path | None) -> tuple[Any, Any]:
    """The GrandQC network and its input's format. weights: a state dict, by default from tiatoolbox's hub or the folder
    TIATOOLBOX_HOME. Raises WeightsError."""
    if folder := os.environ.get("TIATOOLBOX_HOME"):
        rcParam["TIATOOLBOX_HOME"] = Path(folder)
    try:
        return get_pretrained_model(GRANDQC, weights)
    except Exception as error:
        remedy = f"{WeightsError.download}, jobs download nothing; or give its file"
        raise WeightsError(f"tissue.weights: GrandQC's network cannot be loaded ({error!r}): {remedy}") from error


def grandqc_mask(image: np.ndarray, mpp: float, weights: Path | None) -> np.ndarray:
    """Tissue by the GrandQC network (Weng et al. 2024, doi 10.1038/s41467-024-54769-y): (h, w) bool.

    image: (h, w, 3) uint8 RGB at `mpp`; weights: a state dict, by default from tiatoolbox's hub. Raises WeightsError.
    """
    model, config = load_grandqc(weights)
    factor = mpp / config.input_resolutions[0]["resolution"]
    small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    height, width = small.shape[:2]
    bottom, right = (max(0, -(-(side - WINDOW) // STRIDE)) * STRIDE + WINDOW - side for side in (height, width))
    padded = cv2.copyMakeBorder(small, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    total = np.zeros((*padded.shape[:2], 2))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for y in range(0, padded.shape[0] - WINDOW + 1, STRIDE):
        for x in range(0, padded.shape[1] - WINDOW + 1, STRIDE):
            window = (slice(y, y + WINDOW), slice(x, x + WINDOW))
            batch = torch.from_numpy(model.preproc(padded[window])).float()[None]
            total[window] += model.infer_batch(model, batch, device=device)[0]
    mask = model.postproc(total)[:height, :width].astype(np.uint8)
    return cv2.resize(mask, image.shape[1::-1], interpolation=cv2.INTER_NEAREST).astype(bool)
