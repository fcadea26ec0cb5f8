"""A fold's result: its files, and what its model was trained with. Without pandas, which Snakemake's planning and the heat
maps' environment need not load."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from roformermil.config import Config, Model, Training, Unit
from roformermil.config.base import read_settings
from roformermil.config.training import run_name
from roformermil.errors import ModelError
from roformermil.runtime import stage_versions
from roformermil.runtime.files import fingerprint
from roformermil.tasks import Task, trained_task

MODEL_FILE = "model.safetensors"
SHUFFLED_FILE = "shuffled.csv"
EXTERNAL_FILE = "external.json"  # beside predictions of an external data set: the metadata of the model that made them
VALIDATION_FILE, TRIAL_FILE = "validation.csv", "trial.json"  # of trainings without test slides, to choose settings
FOLDER = re.compile(r"fold_(\d+)(?:_seed_(-?\d+))?")


def fold_folder(fold: int, seed: int | None = None) -> str:
    """The name of the folder of a fold's first training, or of a further one with this seed."""
    return f"fold_{run_name(fold, seed)}"


@dataclass(frozen=True)
class ModelKey:
    """A model that was trained on a data set's features from an encoder."""

    dataset: str
    encoder: str
    model: str

    @property
    def key(self) -> tuple[str, str, str]:
        return self.dataset, self.encoder, self.model


@dataclass(frozen=True)
class FoldResult(ModelKey):
    """Where a fold's predictions are, and which model of which data set made them."""

    fold: int
    path: Path  # predictions.csv
    seed: int | None = None  # of the fold's further trainings; None: the first, whose seed is that of the configuration

    @classmethod
    def at(cls, path: Path) -> "FoldResult":
        """The result at `.../{dataset}/{encoder}/{model}/fold_{k}/predictions.csv`, or `fold_{k}_seed_{s}`. Raises ModelError."""
        *_, dataset, encoder, model, folder, _ = path.absolute().parts
        match = FOLDER.fullmatch(folder)
        if not match:
            raise ModelError(f"{path.absolute()}: its folder is not named fold_0 or fold_0_seed_2, with other numbers")
        fold, seed = match.groups()
        return cls(dataset, encoder, model, int(fold), path, None if seed is None else int(seed))

    @property
    def run(self) -> str:
        """Which training of the model this is: `0`, or `0 (seed 2)`."""
        return f"{self.fold}" if self.seed is None else f"{self.fold} (seed {self.seed})"

    @property
    def shuffled_file(self) -> Path:
        """The predictions of test slides whose positions were shuffled."""
        return self.path.with_name(SHUFFLED_FILE)

    @property
    def external_file(self) -> Path:
        return self.path.with_name(EXTERNAL_FILE)

    @cached_property
    def is_external(self) -> bool:
        """Whether these are predictions of an external data set, by a model that another was trained on."""
        return self.external_file.exists()

    @property
    def trained_on(self) -> str:
        """The data set that the model was trained on: another one than `dataset` where that is external. Raises ModelError."""
        return self.metadata["dataset"]

    @property
    def model_file(self) -> Path:
        """The model that made the predictions."""
        return self.training_result.path.with_name(MODEL_FILE)

    @property
    def training_result(self) -> "FoldResult":
        """The result of the fold that the model was trained in: another one for an external data set."""
        path = self.path.absolute()
        if not self.is_external:
            return replace(self, path=path)
        folder = path.parents[4] / self.trained_on / self.encoder / self.model / path.parent.name
        return FoldResult.at(folder / path.name)

    @cached_property
    def metadata(self) -> dict[str, str]:
        """What model.safetensors tells of its training: model, classes, best_epoch, ...; for an external data set, what
        external.json keeps of that, with its own slides and features. Raises ModelError."""
        if not self.is_external:
            return read_metadata(self.model_file)
        try:
            return json.loads(self.external_file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ModelError(f"{self.external_file.absolute()}: damaged ({error})") from error

    @property
    def classes(self) -> list[str]:
        """The classes in the order of their index; none of a task other than classification. Raises ModelError."""
        return self.settings["classes"]

    @cached_property
    def task(self) -> Task:
        """What it predicts, fitted to its training slides. Raises ModelError."""
        try:
            return trained_task(self.metadata)
        except (KeyError, TypeError, ValueError) as error:
            raise self._unknown_file(error) from error

    @property
    def unit(self) -> Unit:
        """What its rows are: slides or patients. Raises ModelError."""
        return self.settings["unit"]

    @property
    def trained_seed(self) -> int:
        """The seed that it was trained with. Raises ModelError."""
        return self.settings["training.seed"]

    @property
    def training(self) -> Training:
        """The settings that its training had, as far as they decide the result. Raises ModelError."""
        prefix = "training."
        given = {key.removeprefix(prefix): v for key, v in self.settings.items() if key.startswith(prefix)}
        return read_settings(Training, given, str(self.model_file))

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What decided the fold's result, by key: `task`, `unit`, `classes`, `models.hidden_dim`, `training.epochs`, ... Raises ModelError."""
        try:
            classes, model, training = (json.loads(self.metadata[name]) for name in ("classes", "model", "training"))
        except (KeyError, ValueError) as error:
            raise self._unknown_file(error) from error
        training = {key: value for key, value in training.items() if key not in Training.runtime_only}
        unit = self.metadata.get("unit", "slide")
        values = _by_key(self.task.name, unit, classes, model, training, self.metadata.get("train_version"))
        return values | ({"covariates": self.covariates} if self.covariates else {})

    @property
    def covariates(self) -> list[str]:
        """The covariates that the model uses."""
        text = self.metadata.get("covariates")
        return [column["name"] for column in json.loads(text)["columns"]] if text else []

    def _unknown_file(self, error: Exception) -> ModelError:
        return ModelError(f"{self.model_file.absolute()}: not written by `roformermil train` ({error!r})")


def configured_settings(
    config: Config, dataset: str, model: Model, seed: int | None, trainings: Mapping[str, Training]
) -> dict[str, Any]:
    """The settings that the folds of this data set and model are to have, by the keys of `FoldResult.settings`.

    seed: of a further training of a fold; trainings: settings of models that are not trained with those of `config`, by id.
    """
    training, version = trainings.get(model.id, config.training).deciding_values(), str(stage_versions.TRAIN)
    if seed is not None:
        training["seed"] = seed
    classes = config.datasets[dataset].classes
    values = _by_key(config.task, config.unit, classes, model.model_dump(mode="json"), training, version)
    return values | ({"covariates": config.covariates} if model.uses_covariates else {})


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file, read from its header: the header's length in 8 bytes, then JSON.

    Raises ModelError for a file that is missing, damaged or of another format.
    """
    try:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > path.stat().st_size:
                raise ValueError("its header is incomplete")
            return json.loads(file.read(length))["__metadata__"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path.absolute()}: the model is missing or damaged ({error})") from error


def training_identity(metadata: Mapping[str, str]) -> str:
    """What distinguishes a training from every other: a digest of its model's metadata, which name its predictions."""
    return fingerprint(metadata=dict(metadata))


def _by_key(
    task: str, unit: str, classes: list[str], model: Mapping[str, Any], training: Mapping[str, Any], version: Any
) -> dict[str, Any]:
    of_model = {f"models.{key}": value for key, value in model.items()}
    of_training = {f"training.{key}": value for key, value in training.items()}
    return {
        "task": task,
        "unit": unit,
        "classes": classes,
        **of_model,
        **of_training,
        "the training code's version": version,
    }
