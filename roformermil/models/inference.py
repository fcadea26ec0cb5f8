"""A trained model from its file, and its prediction for one slide or patient."""

import json
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


@dataclass(frozen=True)
class Prediction:
    """A model's prediction for one bag of n tiles."""

    probabilities: np.ndarray  # (C,), sum 1
    attention: np.ndarray  # (n, C), sums to 1 for each class
    contributions: np.ndarray | None  # (n, C), what each tile adds to each logit; None for TransMIL

    @cached_property
    def margins(self) -> np.ndarray | None:
        """What each tile adds to a class's logit minus the mean of the other classes' logits, (n, C).

        With two classes these are log-odds. A tile that adds the same to all logits changes no probability.
        """
        if self.contributions is None:
            return None
        classes = self.contributions.shape[1]
        return (self.contributions - self.contributions.mean(axis=1, keepdims=True)) * classes / (classes - 1)

    def split(self, slide_lengths: Sequence[int]) -> list["Prediction"]:
        """The prediction with the tiles of one slide each: the probabilities remain those of the whole bag, and attention sums
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
    classes: list[str]
    metadata: dict[str, str]  # what training wrote: dataset, fold, best_epoch, features, run, ...
    precision: torch.dtype
    device: torch.device
    average_orientations: bool = False  # as in its training's predictions

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
        probabilities = out.logits[0].double().softmax(dim=-1).cpu().numpy()
        if not np.isfinite(probabilities).all():
            question = "do the features contain NaN, infinity or very large values?"
            raise BagError(f"the model's output is not finite: {question}")
        return Prediction(
            probabilities,
            out.attention.float().cpu().numpy(),
            None if contributions is None else contributions.float().cpu().numpy(),
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
        classes = json.loads(metadata["classes"])
        model = build_model(settings, in_dim := int(metadata["in_dim"]), len(classes))
        if training.normalize != "none":
            model.normalization = Normalization(torch.zeros(in_dim), torch.ones(in_dim))
        model.load_state_dict(load_file(path))
    except (OSError, SafetensorError, KeyError, RuntimeError) as error:
        raise ModelError(f"{path}: not a model.safetensors written by roformermil train ({error})") from error
    device = best_device()
    precision = resolve_precision(training.precision, device)
    return TrainedModel(model.eval().to(device), classes, metadata, precision, device, training.average_orientations)


def average_predictions(predictions: Sequence[Prediction]) -> Prediction:
    """The prediction of an ensemble: the mean of its members' predictions."""
    contributions = [p.contributions for p in predictions if p.contributions is not None]
    return Prediction(
        np.mean([p.probabilities for p in predictions], axis=0),
        np.mean([p.attention for p in predictions], axis=0),
        np.mean(contributions, axis=0) if len(contributions) == len(predictions) else None,
    )
