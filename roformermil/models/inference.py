"""A trained model from its file: built, fed and asked in one place, whoever asks: heat maps, prediction, a notebook."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from roformermil.config import Model, Training
from roformermil.config.base import read_settings
from roformermil.errors import ModelError
from roformermil.models.build import MILModel, build_model
from roformermil.runtime.gpus import autocast, resolve_precision


@dataclass(frozen=True)
class Prediction:
    """What a model says of one slide of n tiles."""

    probabilities: np.ndarray  # (C,), sum 1
    attention: np.ndarray  # (n, C), each class's sums to 1
    contributions: np.ndarray | None  # (n, C), what each tile adds to each logit; None where a model has no such thing

    @cached_property
    def margins(self) -> np.ndarray | None:
        """What each tile adds to a class's logit over the mean of the others', (n, C): with two classes to its log-odds. A tile
        that adds as much to all logits moves no probability."""
        if self.contributions is None:
            return None
        classes = self.contributions.shape[1]
        return (self.contributions - self.contributions.mean(axis=1, keepdims=True)) * classes / (classes - 1)


@dataclass(frozen=True)
class TrainedModel:
    """A model with its parameters, on a device, and what its file says of it."""

    model: MILModel
    classes: list[str]
    said: dict[str, Any]  # dataset, fold, best_epoch, features, run, ...
    precision: torch.dtype
    device: torch.device

    @torch.no_grad()
    def answer(self, features: np.ndarray, grid: np.ndarray) -> Prediction:
        """features: (n, in_dim); grid: (n, 2) integer tile positions. Raises BagError when they do not fit the model."""
        x = torch.from_numpy(np.asarray(features)).to(self.device)
        places = torch.from_numpy(np.asarray(grid)).to(self.device)
        with autocast(self.device, self.precision):
            out, parts = self.model.explained(x, places, [len(places)])
        return Prediction(
            out.logits[0].double().softmax(dim=-1).cpu().numpy(),
            out.attention.float().cpu().numpy(),
            None if parts is None else parts.float().cpu().numpy(),
        )


def load_model(path: Path | str) -> TrainedModel:
    """A fold's `model.safetensors`, in evaluation mode, on a GPU where there is one, in the precision it was trained in.

    Raises ModelError for a file that is not such a model.
    """
    path = Path(path)
    if path.is_dir():
        raise ModelError(
            f"{path}: is a folder; a fold's model.safetensors is meant (of a packaged model: predict.load_ensemble)"
        )
    try:
        with safe_open(path, "pt") as file:
            said = dict(file.metadata() or {})
        settings = read_settings(Model, said["model"], str(path))
        training = read_settings(Training, said["training"], str(path))
        model = build_model(settings, int(said["in_dim"]), len(classes := json.loads(said["classes"])))
        model.load_state_dict(load_file(path))
    except (OSError, SafetensorError, KeyError, RuntimeError) as error:
        raise ModelError(f"{path}: not a model.safetensors of this package's training ({error})") from error
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return TrainedModel(model.eval().to(device), classes, said, resolve_precision(training.precision, device), device)


def average_predictions(answers: list[Prediction]) -> Prediction:
    """An ensemble's answer: the mean of its members'."""
    parts = [answer.contributions for answer in answers if answer.contributions is not None]
    return Prediction(
        np.mean([answer.probabilities for answer in answers], axis=0),
        np.mean([answer.attention for answer in answers], axis=0),
        np.mean(parts, axis=0) if len(parts) == len(answers) else None,
    )
