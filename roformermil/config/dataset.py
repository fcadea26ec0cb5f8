"""Data sets and where their slides come from."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from roformermil.config.base import Distinct, Name, Settings, UserPath

SitesFrom = Literal["column", "tcga"]


class Source(Settings):
    """Where `snakemake download` fetches a data set's slides from, into `root`."""

    kind: Literal["gdc", "http", "by_hand"]
    """`gdc`: TCGA, by file name through the API of the Genomic Data Commons; `http`: files below `url` (a public bucket or
    any web server); `by_hand`: behind terms that a person accepts at `url`; missing slides are listed."""
    url: str = ""
    """`http`: the folder that the slide sheet's paths are relative to; `by_hand`: the page that explains how to get the slides;
    `gdc`: another address of the API."""
    checksums: str = ""
    """`http`: address of a list of checksums in the format of `md5sum`: one line `checksum path` per file."""

    @model_validator(mode="after")
    def _keys_fit_the_kind(self) -> "Source":
        if self.kind != "gdc" and not self.url:
            raise ValueError(f"kind: {self.kind} needs a url")
        if self.checksums and self.kind != "http":
            raise ValueError(f"checksums has no effect with kind: {self.kind}")
        return self


class Dataset(Settings):
    """A data set: a slide sheet, the folder of its slides and its classes."""

    slides: UserPath
    """Slide sheet (CSV): `slide_id, path`; `label` to train (with `task: survival`, `time` and `event`); and optionally `patient_id` (by default each slide is a patient
    of its own), `mpp`, `tissue` (settings for this slide), `exclude` (why it is left out), `site` (where it was made, for the
    leakage check) and `note` (for readers)."""
    root: UserPath
    """Folder that the slide sheet's paths are relative to."""
    allow_absolute: bool = False
    """Whether paths in the slide sheet may be absolute, and so outside `root`."""
    classes: Distinct[Name] = Field([])
    """Labels in the order of their class index, two or more; may be left out as long as nothing is trained. With two classes,
    the second is the positive one."""
    sites: SitesFrom = "column"
    """Where a slide's site is read from, for `folds.mode: site` and the leakage check: column `site` of the slide sheet, or the
    tissue source site of a TCGA barcode that `slide_id` or `patient_id` begins with (`A7` of TCGA-A7-A0CE)."""
    source: Source | None = None
    """Where the slides are downloaded from; leave out where they are there already: section Source."""
    validates: Name | None = None
    """The data set whose models this one validates. It is then external: never trained on, predicted by all models trained on that
    data set. Its `classes` may be left out, and so may labels: slides without one are only predicted."""

    @field_validator("classes")
    @classmethod
    def _several(cls, classes: list[str]) -> list[str]:
        if len(classes) == 1:
            raise ValueError(f"{classes[0]} is the only class: list two or more, or leave the key out to train nothing")
        return classes
