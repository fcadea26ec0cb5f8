"""Cross-validation folds, and what a leak between their parts does."""

from typing import Literal

from pydantic import Field, model_validator

from roformermil.config.base import Settings, UserText

OnLeak = Literal["fail", "warn"]


class Folds(Settings):
    """Cross-validation (paper, section 3.2: 10 stratified folds)."""

    count: int = Field(10, ge=3)
    """Number of folds, and of groups of slides: fold k tests on group k."""
    repeats: int = Field(1, ge=1)
    """How often the whole cross-validation is done, each time with another division of the slides: `count` x `repeats` trainings
    per model. The folds of repeat r have the numbers r x `count` and following. Means, intervals and tests are over all folds.
    Heat maps, packaged models, calibration and confusion, which need one prediction per slide, are those of the first repeat."""
    validation: float = Field(1 / 9, gt=0, le=0.5)
    """Share of each class's patients, of those that a fold does not test, who validate: at least one; the rest train. By default
    ten folds train on 80%, validate on 10% and test on 10%. Has no effect with `path` or `mode: paper`."""
    seed: int = 1
    """Seed of the split. Has no effect with `path`."""
    mode: Literal["kfold", "site", "paper"] = "kfold"
    """`kfold`: as described at `count`. `site`: likewise, but all slides of a site (column `site` of the slide sheet) are in one
    part, also of training and validation: preserved-site cross-validation. `paper`: as the paper's release splits, by slide regardless of the patient; a
    tenth of what is not tested validates. Results of `paper` are optimistic where patients have several slides."""
    group_by_patient: bool = Field(default_factory=lambda values: values.get("mode") != "paper")
    """Keep a patient's slides in one part. `false` splits by slide, and so does `mode: paper`."""
    path: UserText | None = None
    """Use given folds: a CSV `fold, slide_id, part`. `{dataset}` in the path is replaced by the data set's name."""

    @property
    def numbers(self) -> range:
        """The numbers of all folds."""
        return range(self.count * self.repeats)

    @model_validator(mode="after")
    def _keys_fit_the_mode(self) -> "Folds":
        if self.mode == "paper" and self.group_by_patient:
            raise ValueError("mode: paper splits by slide; leave out group_by_patient: true")
        if self.mode == "site" and not self.group_by_patient:
            raise ValueError("mode: site keeps the patients of a site together; leave out group_by_patient: false")
        if self.mode != "kfold" and self.path:
            raise ValueError(f"mode: {self.mode} makes folds, path gives them: leave one out")
        return self


class Leakage(Settings):
    """What a leak between parts of a fold does before training: `fail` stops the data set, `warn` only reports it."""

    patients: OnLeak = "fail"
    """A patient in two parts of a fold. Always a warning where `folds` split by slide, since that was asked for."""
    duplicates: OnLeak = "fail"
    """Slides with the same picture, in whatever files, in two parts of a fold or with two labels."""
    sites: OnLeak = "warn"
    """The slide sheet's column `site` predicts the label (Cramer's V of 0.3 or more, p < 0.05 by permutation). Only a
    warning unless set, since most cohorts from several hospitals are so; `folds.mode: site` avoids it."""
