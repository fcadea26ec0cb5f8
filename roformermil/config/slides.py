"""Data sets, tissue and tiles."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from roformermil.settings import Settings

GDC = "https://api.gdc.cancer.gov"
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]  # becomes a folder's name
METHOD_KEYS = {"threshold": ("hsv",), "median": ("hsv", "otsu"), "close": ("hsv", "otsu"), "weights": ("grandqc",)}


class Source(Settings):
    """Where `snakemake download` brings a data set's slides from, into `root`."""

    kind: Literal["gdc", "http", "by_hand"]
    """`gdc`: TCGA, by file name through the API of the Genomic Data Commons; `http`: files below `url` (a public bucket, any
    web server); `by_hand`: behind terms that a person accepts at `url`: what is not there yet is named."""
    url: str = ""
    """`http`: folder that the sheet's paths are relative to; `by_hand`: the page that says how to come by the slides; `gdc`:
    another address of the API."""
    checksums: str = ""
    """`http`: address of a list as `md5sum` writes it, `checksum path` a line."""

    @model_validator(mode="after")
    def _said_to_the_right_kind(self) -> "Source":
        if self.kind != "gdc" and not self.url:
            raise ValueError(f"kind: {self.kind} needs a url")
        if self.checksums and self.kind != "http":
            raise ValueError(f"checksums says nothing with kind: {self.kind}")
        return self


class Dataset(Settings):
    """A data set: a slide sheet, the folder of its slides and its classes."""

    slides: Path
    """Slide sheet (CSV): `slide_id, patient_id, label, path` and optionally `mpp`, `tissue` (settings of this slide), `exclude`
    (why it is left out), `site` (where it comes from, for the leak audit) and `note` (for readers)."""
    root: Path
    """Folder that the sheet's paths are relative to."""
    allow_absolute: bool = False
    """Whether paths in the sheet may be absolute, and so lie outside `root`."""
    classes: list[Name] = Field(min_length=2)
    """Labels in the order of their class index. With two, the second is the positive one."""
    source: Source | None = None
    """Where the slides come from; without it they are there already: section Source."""

    @field_validator("classes")
    @classmethod
    def _distinct(cls, classes: list[str]) -> list[str]:
        if len(set(classes)) < len(classes):
            raise ValueError("each class once")
        return classes


class Tissue(Settings):
    """Tissue segmentation at low resolution, its areas in um^2 instead of pixels. A slide's row of the sheet may override
    any key in the column `tissue`."""

    method: Literal["hsv", "otsu", "morphological", "grandqc"] = "hsv"
    """`hsv`: saturation, median filter, threshold, closing, as in CLAM (Lu et al. 2021); `otsu`: the same, the threshold
    chosen slide by slide; `morphological` and `grandqc` (a network): tiatoolbox's, in its own environment."""
    mpp: float = Field(8.0, gt=0)
    """Resolution of the mask in um/px."""
    threshold: int = Field(8, ge=0, le=255)
    """`hsv`: pixels of a saturation (0 to 255) above this are tissue."""
    median: int = Field(7, ge=1)
    """`hsv`, `otsu`: width of the median filter in mask pixels, odd; 1 leaves it out."""
    close: int = Field(4, ge=1)
    """`hsv`, `otsu`: width of the morphological closing in mask pixels; 1 leaves it out."""
    weights: Path | None = None
    """`grandqc`: the network's state dict; by default tiatoolbox fetches it from its hub."""
    drop_pen: bool = False
    """Leave out green, blue, red and black pen marks."""
    drop_folds: bool = False
    """Leave out folds: tissue that is darker and more saturated than the slide's, as two layers are."""
    min_area: float = Field(16384.0, ge=0)
    """Regions below this many um^2 are dropped. The default is one tile of the default size."""
    min_hole: float = Field(16384.0, ge=0)
    """Holes below this many um^2 are filled."""

    @field_validator("median")
    @classmethod
    def _odd(cls, median: int) -> int:
        if median % 2 == 0:
            raise ValueError("the median filter's width must be odd")
        return median

    @property
    def needs_tiatoolbox(self) -> bool:
        return self.method in ("morphological", "grandqc")

    @model_validator(mode="after")
    def _said_to_the_right_method(self) -> "Tissue":
        for key, methods in METHOD_KEYS.items():
            if getattr(self, key) != type(self).model_fields[key].default and self.method not in methods:
                raise ValueError(f"{key} says nothing with method: {self.method}")
        return self


class Tiles(Settings):
    """The grid of tiles (paper, section 3.2: 256 px at 20x)."""

    size: int = Field(256, ge=32)
    """Side of a tile in pixels, as the encoder sees it; in a configuration, the encoder's own (224 of a foundation model)."""
    mpp: float = Field(0.5, gt=0)
    """Resolution of a tile in um/px. 0.5 is 20x."""
    min_tissue: float = Field(0.25, ge=0, le=1)
    """A tile is kept when at least this fraction of its area is tissue (and some of it is)."""
    tolerance: float = Field(0.1, ge=0)
    """A slide whose finest level is coarser than `mpp` by more than this fraction is `too_coarse`. Scanners' "20x"
    is 0.45 to 0.55 um/px; within the tolerance such a slide's tiles are interpolated by the few per cent missing."""
