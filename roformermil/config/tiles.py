"""The grid of tiles."""

import math
import re
from contextlib import suppress
from typing import Any

from pydantic import Field

from roformermil.config.base import Settings

MPP_AT_1X = 10.0  # um/px: at 20x, 10 / 20 = 0.5
MAGNIFICATION = re.compile("(target_?)?(mag|magnification|objective(_?power)?|power|zoom|level_?mag)", re.IGNORECASE)
# other programs' names, and ours
OTHER_NAMES = {"mpp": "target_mpp", "resolution": "target_mpp", "patch_size": "tile_px", "tile_size": "tile_px"}


class Tiles(Settings):
    """The grid of tiles (paper, section 3.2: 256 px at 20x). It starts at the slide's top left corner; the strip at the right
    and lower edge where no whole tile fits has no tiles."""

    tile_px: int = Field(256, ge=32)
    """Side of a tile in pixels, as the encoder sees it. The default is the encoder's own: 224 for foundation models."""
    target_mpp: float = Field(0.5, gt=0)
    """Resolution of a tile in um/px. 0.5 is 20x, 0.25 is 40x, 1.0 is 10x."""
    min_tissue: float = Field(0.25, ge=0, le=1)
    """A tile is kept when at least this fraction of its area is tissue (and more than none)."""
    tolerance: float = Field(0.1, ge=0)
    """A slide whose finest level is coarser than `target_mpp` by more than this fraction is `too_coarse`. Scanners' "20x"
    is 0.45 to 0.55 um/px; within the tolerance, the tiles of such a slide are enlarged by a few per cent."""

    @classmethod
    def explain_unknown(cls, key: str, value: Any) -> str:
        if name := OTHER_NAMES.get(key.lower()):
            return f"is called `{name}` here"
        if not MAGNIFICATION.fullmatch(key):
            return ""
        with suppress(ValueError):
            power = float(str(value).strip().rstrip("xX"))
            if 0 < power < math.inf:
                remedy = f"write target_mpp: {MPP_AT_1X / power:.3g} (um/px; {MPP_AT_1X:g} / {power:g})"
                return f"tiles are cut at a resolution, since scanners differ in what they call {power:g}x; {remedy}"
        return f"{value!r} is no magnification; write target_mpp in um/px: 0.5 is 20x, 0.25 is 40x"
