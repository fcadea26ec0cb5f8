"""The grid of tiles."""

from pydantic import Field

from roformermil.config.base import Settings


class Tiles(Settings):
    """The grid of tiles (paper, section 3.2: 256 px at 20x). It starts at the slide's top left corner; the strip at the right
    and lower edge where no whole tile fits has no tiles."""

    tile_px: int = Field(256, ge=32)
    """Side of a tile in pixels, as the encoder sees it. The default is the encoder's own: 224 for foundation models."""
    target_mpp: float = Field(0.5, gt=0)
    """Resolution of a tile in um/px. 0.5 is 20x."""
    min_tissue: float = Field(0.25, ge=0, le=1)
    """A tile is kept when at least this fraction of its area is tissue (and more than none)."""
    tolerance: float = Field(0.1, ge=0)
    """A slide whose finest level is coarser than `target_mpp` by more than this fraction is `too_coarse`. Scanners' "20x"
    is 0.45 to 0.55 um/px; within the tolerance, the tiles of such a slide are enlarged by a few per cent."""
