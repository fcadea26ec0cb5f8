"""Tissue segmentation."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from roformermil.config.base import Settings, UserPath

METHODS_OF_KEY = {"threshold": ("hsv",), "median": ("hsv", "otsu"), "close": ("hsv", "otsu"), "weights": ("grandqc",)}


class Tissue(Settings):
    """Tissue segmentation at low resolution. Areas are in um^2, so they mean the same on every slide. The column `tissue`
    of the slide sheet overrides any key for one slide."""

    method: Literal["background", "hsv", "otsu", "morphological", "grandqc"] = "background"
    """`background`: what differs from the slide's own glass in colour, darkness or texture, for any brightfield stain;
    `hsv`: saturation, median filter, threshold, closing, as in CLAM (Lu et al. 2021); `otsu`: the same, with a threshold
    chosen per slide; `morphological` and `grandqc` (a network): tiatoolbox's, in its own environment."""
    mpp: float = Field(8.0, gt=0)
    """Resolution of the mask in um/px."""
    threshold: int = Field(8, ge=0, le=255)
    """`hsv`: pixels with a saturation (0 to 255) above this are tissue."""
    median: int = Field(7, ge=1)
    """`hsv`, `otsu`: width of the median filter in mask pixels, odd; 1 turns it off."""
    close: int = Field(4, ge=1)
    """`hsv`, `otsu`: width of the morphological closing in mask pixels; 1 turns it off."""
    weights: UserPath | None = None
    """`grandqc`: the network's state dict; by default tiatoolbox downloads it from its hub."""
    drop_pen: bool = False
    """Remove green, blue, red and black pen marks from the tissue."""
    drop_folds: bool = False
    """Remove tissue folds: tissue that is darker and more saturated than the rest of the slide's, as two layers are."""
    min_area: float = Field(16384.0, ge=0)
    """Regions smaller than this many um^2 are dropped. The default is one tile of the default size."""
    min_hole: float = Field(16384.0, ge=0)
    """Holes smaller than this many um^2 are filled."""

    @property
    def needs_tiatoolbox(self) -> bool:
        return self.method in ("morphological", "grandqc")

    @property
    def is_downloaded(self) -> bool:
        """Whether the method's weights are published ones."""
        return self.method == "grandqc" and self.weights is None

    @field_validator("median")
    @classmethod
    def _odd(cls, median: int) -> int:
        if median % 2 == 0:
            raise ValueError("the median filter's width must be odd")
        return median

    @model_validator(mode="after")
    def _keys_fit_the_method(self) -> "Tissue":
        for key, methods in METHODS_OF_KEY.items():
            if getattr(self, key) != type(self).model_fields[key].default and self.method not in methods:
                only = " and ".join(methods)
                raise ValueError(f"{key} has no effect with method: {self.method}, only with {only}")
        return self
