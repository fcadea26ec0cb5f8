"""A trained model from its file, and its prediction for one slide or patient."""

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
from roformermil.bags.dataset import Bag
from roformermil.config import Model, Training, Unit
from roformermil.config.base import read_settings
from roformermil.errors import BagError, ModelError
from roformermil.models.build import MILModel, build_model
from roformermil.models.normalization import Normalization
from roformermil.runtime.gpus import autocast, best_device, resolve_precision
from roformermil.tasks import Classification, Task, trained_task

CLASSIFICATION = Classification()


@dataclass(frozen=True)
class Prediction:
    """A model's prediction for one bag of n tiles: of C classes, or of a task with C outputs."""

    values: np.ndarray  # (P,), in the order of the task's columns
    attention: np.ndarray  # (n, C), sums to 1 for each class
    contributions: (
        np.ndarray | None
    )  # (n, C), what each tile adds to each logit or, of a regression, to it; None for TransMIL
    task: Task = CLASSIFICATION

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

    def predict(self, features: np.ndarray, grid: np.ndarray, slide_lengths: Sequence[int] | None = None) -> Prediction:
        """The prediction for one bag. features: (n, in_dim); grid: (n, 2) integer tile positions; slide_lengths: tiles of each
        slide, n in sum, where it has several.

        Raises BagError when they do not fit the model, or when its output is not finite.
        """
        x, positions = (torch.from_numpy(np.asarray(a)).to(self.device) for a in (features, grid))
        slides = [len(positions)] if slide_lengths is None else list(slide_lengths)
        if not (self.average_orientations and self.model.settings.uses_position):
            return self._predict(x, positions, slides)
        grids = positions.split(slides)
        turned = [torch.cat([orient(one, k) for one in grids]) for k in range(ORIENTATIONS)]
        return average_predictions([self._predict(x, one, slides) for one in turned])

    def predict_bag(self, bag: Bag) -> Prediction:
        """The prediction for a bag. Raises BagError as `predict` does."""
        return self.predict(bag.features.numpy(), bag.grid.numpy(), bag.slide_lengths)

    @torch.no_grad()
    def _predict(self, x: Tensor, positions: Tensor, slide_lengths: list[int]) -> Prediction:
        with autocast(self.device, self.precision):
            given = (x, positions, [len(positions)], slide_lengths)
            out, contributions = self.model.forward_with_contributions(*given)
        values = self.task.activation(out.logits[0].double()).cpu().numpy()
        if not np.isfinite(values).all():
            question = "do the features contain NaN, infinity or very large values?"
            raise BagError(f"the model's output is not finite: {question}")
        return Prediction(
            values,
            out.attention.float().cpu().numpy(),
            None if contributions is None else contributions.float().cpu().numpy() * np.float32(self.task.scale),
            self.task,
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
        task = trained_task(metadata)
        model = build_model(settings, in_dim := int(metadata["in_dim"]), len(task.outputs))
        if training.normalize != "none":
            model.normalization = Normalization(torch.zeros(in_dim), torch.ones(in_dim))
        model.load_state_dict(load_file(path))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{path}: not a model.safetensors written by roformermil train ({error})") from error
    device = best_device()
    precision = resolve_precision(training.precision, device)
    return TrainedModel(model.eval().to(device), task, metadata, precision, device, training.average_orientations)


def average_predictions(predictions: Sequence[Prediction]) -> Prediction:
    """The prediction of an ensemble: the mean of its members' predictions."""
    contributions = [p.contributions for p in predictions if p.contributions is not None]
    return Prediction(
        np.mean([p.values for p in predictions], axis=0),
        np.mean([p.attention for p in predictions], axis=0),
        np.mean(contributions, axis=0) if len(contributions) == len(predictions) else None,
        predictions[0].task,
    )
