"""A trained model from its file, and its prediction for one slide or patient."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from roformermil.bags.augmentation import ORIENTATIONS, orient
from roformermil.bags.covariate_table import covariates_of_bags
from roformermil.bags.covariates import CovariateCoding, covariate_coding
from roformermil.bags.dataset import Bag
from roformermil.bags.folds import FoldRow
from roformermil.cohort.covariates import Cells, read_covariate_table
from roformermil.config import Model, Training, Unit
from roformermil.config.base import read_settings
from roformermil.errors import BagError, ConfigError, ModelError
from roformermil.models.build import MILModel, build_model
from roformermil.models.normalization import Normalization
from roformermil.runtime.gpus import autocast, best_device, resolve_precision
from roformermil.runtime.text import plural
from roformermil.tasks import CLASSIFICATION, Task, trained_task

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prediction:
    """A model's prediction for one bag of n tiles: of C classes, or of a task with C outputs."""

    values: np.ndarray  # (P,), in the order of the task's columns
    attention: np.ndarray  # (n, C), sums to 1 for each class
    # (n, C), what each tile adds to each logit or, of a regression, to the number; None for TransMIL
    contributions: np.ndarray | None
    task: Task = CLASSIFICATION
    of_covariates: np.ndarray | None = None  # (C,), what the bag's covariates add; None for a model without

    @property
    def probabilities(self) -> np.ndarray:
        """Of a classification: (C,), sum 1."""
        return self.values

    @property
    def shown(self) -> int:
        """Which column of `margins` and `map_attention` heat maps show."""
        return self.task.shown(self.values)

    @cached_property
    def margins(self) -> np.ndarray | None:
        """What each tile adds to each of the K values that have heat maps, (n, K).

        For a class, to its logit minus the mean of the other classes' logits: with two classes these are log-odds. For
        survival, to the logits of the hazards; for regression, to the prediction.
        """
        return None if self.contributions is None else self.task.map_contributions(self.contributions)

    @property
    def covariate_margins(self) -> np.ndarray | None:
        """The same of the covariates, (K,)."""
        return None if self.of_covariates is None else self.task.map_contributions(self.of_covariates[None])[0]

    @cached_property
    def map_attention(self) -> np.ndarray:
        """The attention to each tile for each of these values, (n, K)."""
        return self.task.map_attention(self.attention)

    def split(self, slide_lengths: Sequence[int]) -> list["Prediction"]:
        """The prediction with the tiles of one slide each: the values remain those of the whole bag, and attention sums
        to 1 over all its slides. slide_lengths: tiles of each slide."""
        ends = np.cumsum(slide_lengths)
        slices = [slice(end - tiles, end) for end, tiles in zip(ends, slide_lengths, strict=True)]
        contributions = self.contributions
        return [
            replace(
                self,
                attention=self.attention[tiles],
                contributions=None if contributions is None else contributions[tiles],
            )
            for tiles in slices
        ]


@dataclass(frozen=True)
class TrainedModel:
    """A model with its parameters, on a device, and the metadata of its file."""

    model: MILModel
    task: Task
    metadata: dict[str, str]  # what training wrote: dataset, fold, best_epoch, features, run, ...
    precision: torch.dtype
    device: torch.device
    average_orientations: bool = False  # as in its training's predictions

    @property
    def classes(self) -> list[str]:
        """In the order of their index; none of a task other than classification."""
        return list(self.task.classes)

    @property
    def unit(self) -> Unit:
        """What its bags were in training."""
        return "patient" if self.metadata.get("unit") == "patient" else "slide"

    @cached_property
    def covariates(self) -> CovariateCoding | None:
        """How its covariates become a vector; None for a model without."""
        return covariate_coding(self.metadata)

    def predict(
        self,
        features: np.ndarray,
        grid: np.ndarray,
        slide_lengths: Sequence[int] | None = None,
        covariates: Cells | None = None,
    ) -> Prediction:
        """The prediction for one bag. features: (n, in_dim); grid: (n, 2) integer tile positions; slide_lengths: tiles of each
        slide, n in sum, where it has several; covariates: as text by name, for a model that uses them: `{"age": "50"}`.

        Raises BagError when they do not fit the model, or when its output is not finite.
        """
        x, positions = (torch.from_numpy(np.asarray(a)).to(self.device) for a in (features, grid))
        slides = [len(positions)] if slide_lengths is None else list(slide_lengths)
        coding = self.covariates
        z = coding.encode({"this slide": covariates or {}}).to(self.device) if coding else None  # (1, k)
        if not (self.average_orientations and self.model.settings.uses_position):
            return self._predict(x, positions, slides, z)
        grids = positions.split(slides)
        turned = [torch.cat([orient(one, k) for one in grids]) for k in range(ORIENTATIONS)]
        return average_predictions([self._predict(x, one, slides, z) for one in turned])

    def predict_bag(self, bag: Bag, covariates: Cells | None = None) -> Prediction:
        """The prediction for a bag; covariates: as of `predict`. Raises BagError as that does."""
        return self.predict(bag.features.numpy(), bag.grid.numpy(), bag.slide_lengths, covariates)

    @torch.no_grad()
    def _predict(self, x: Tensor, positions: Tensor, slide_lengths: list[int], z: Tensor | None) -> Prediction:
        with autocast(self.device, self.precision):
            given = (x, positions, [len(positions)], slide_lengths, z)
            out, contributions = self.model.forward_with_contributions(*given)
        values = self.task.activation(out.logits[0].double()).cpu().numpy()
        if not np.isfinite(values).all():
            question = "do the features contain NaN, infinity or very large values?"
            raise BagError(f"the model's output is not finite: {question}")
        scale = np.float32(self.task.scale)
        return Prediction(
            values,
            out.attention.float().cpu().numpy(),
            None if contributions is None else contributions.float().cpu().numpy() * scale,
            self.task,
            None
            if z is None or self.model.fusion is None
            else (self.model.fusion @ z[0]).float().cpu().numpy() * scale,
        )


def load_model(path: Path | str) -> TrainedModel:
    """The model of a fold's `model.safetensors`, on a GPU if there is one, in its training's precision.

    Raises ModelError for a file that is not such a model.
    """
    if (path := Path(path)).is_dir():
        remedy = "give the model.safetensors in it, or read a packaged model with load_packaged_model"
        raise ModelError(f"{path} is a folder: {remedy}")
    try:
        with safe_open(path, "pt") as file:
            metadata = dict(file.metadata() or {})
        settings = read_settings(Model, metadata["model"], str(path))
        training = read_settings(Training, metadata["training"], str(path))
        task, coding = trained_task(metadata), covariate_coding(metadata, str(path))
        k = len(coding.entries) if coding else 0
        model = build_model(settings, in_dim := int(metadata["in_dim"]), len(task.outputs), k)
        if training.normalize != "none":
            model.normalization = Normalization(torch.zeros(in_dim), torch.ones(in_dim))
        model.load_state_dict(load_file(path))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{path}: not a model.safetensors written by roformermil train ({error})") from error
    device = best_device()
    precision = resolve_precision(training.precision, device)
    return TrainedModel(model.eval().to(device), task, metadata, precision, device, training.average_orientations)


def bag_covariates(model: TrainedModel, rows: Sequence[FoldRow], table: Path | None) -> dict[str, dict[str, str]]:
    """The covariates of each bag by its id; empty for a model without. rows: of the bags' slides; table: covariates.csv.

    What is missing or new to the model is logged. Raises ConfigError without a table, and BagError for covariates that
    do not fit the model.
    """
    if not (coding := model.covariates):
        return {}
    if table is None:
        remedy = "the file that `split --covariates` writes beside folds.csv"
        raise ConfigError(f"the model uses {', '.join(coding.names)}: give --covariates, {remedy}")
    bags = covariates_of_bags(rows, read_covariate_table(table), model.unit)
    coding.check(bags)
    for gap in coding.gaps(bags.values()):
        log.info("of %s, %s", plural(len(bags), model.unit), gap)
    return bags


def average_predictions(predictions: Sequence[Prediction]) -> Prediction:
    """The prediction of an ensemble: the mean of its members' predictions."""
    contributions = [p.contributions for p in predictions if p.contributions is not None]
    of_covariates = [p.of_covariates for p in predictions if p.of_covariates is not None]
    return Prediction(
        np.mean([p.values for p in predictions], axis=0),
        np.mean([p.attention for p in predictions], axis=0),
        np.mean(contributions, axis=0) if len(contributions) == len(predictions) else None,
        predictions[0].task,
        np.mean(of_covariates, axis=0) if of_covariates else None,
    )
