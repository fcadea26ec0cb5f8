"""Every setting, its type, its default and its meaning.

`workflow/schemas/config.schema.json` and `docs/reference.md` are generated from here (`make schema`); tests keep them in step.
Defaults are the paper's values where the paper gives one.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from roformermil.config.base import Distinct, Name, Settings, UserPath, read_settings
from roformermil.config.covariates import CovariateName, check_models, covariate_models
from roformermil.config.dataset import Dataset
from roformermil.config.decisions import Decisions
from roformermil.config.encoder import Encoder
from roformermil.config.encoder_specs import encoder_spec
from roformermil.config.folds import Folds, Leakage
from roformermil.config.model import Model, ModelEntry, ModelName, check_distinct_ids
from roformermil.config.runtime import Runtime
from roformermil.config.search import Search
from roformermil.config.studies import Ablation, Heatmaps, Overhead
from roformermil.config.task import TaskName, keys_of_classes
from roformermil.config.tiles import Tiles
from roformermil.config.tissue import Tissue
from roformermil.config.training import Training
from roformermil.errors import ConfigError

DEFAULT_MODELS: tuple[ModelName, ...] = ("mean-linear", "abmil", "ro-abmil", "dsmil", "ro-dsmil")
SLIDE_TIMEOUT = 600.0  # seconds
Unit = Literal["slide", "patient"]
# what else is in the results folder; on some disks `Logs` is `logs`
RESERVED_FOLDERS = {"logs", "benchmarks", "overhead", "plots", "weights"}
RESERVED_SUFFIXES = {".csv", ".html", ".json", ".md", ".png"}


class Config(Settings):
    """The configuration of a run."""

    datasets: dict[Name, Dataset] = Field(min_length=1)
    """Data sets by name."""
    results: UserPath = Path("results")
    """Folder of all output."""
    tiatoolbox: bool = False
    """With `--use-conda`: read slides in the environment that has tiatoolbox and timm (`envs/tissue.yaml`). Tissue methods
    and encoders that need it select it themselves; slide formats that need it do not."""
    tissue: Tissue = Tissue()
    """How tissue is found: section Tissue."""
    encoder: Encoder = Encoder()
    """What turns tiles into vectors: section Encoder."""
    tiles: Tiles = Field(default_factory=dict, validate_default=True)  # see _tiles_of_encoder
    """Which tiles are cut: section Tiles."""
    task: TaskName = "classification"
    """What is predicted. `classification`: one of the classes in column `label` of the slide sheet. `survival`: the risk of an
    event, from columns `time` (until the event, or until the patient was last seen without one) and `event` (1 or 0) in
    place of `label`. `regression`: the number in column `label`."""
    unit: Unit = "slide"
    """What a prediction is about. `slide`: each slide is a bag; tables also show results by patient, whose prediction is the mean of
    those of their slides. `patient`: all slides of a patient are one bag: tiles attend to those of their slide, and tiles of
    all slides are pooled; the slides of a patient must have one label."""
    folds: Folds = Folds()
    """How slides are divided: section Folds."""
    leakage: Leakage = Leakage()
    """What a leak between the parts of a fold does: section Leakage."""
    covariates: Distinct[CovariateName] = Field([])
    """Columns of every slide sheet, such as `[age, stage]`, that models may use beside features: numbers are standardized,
    categories are one value each. Of the default models, `abmil` and `ro-abmil` are then also trained with them, and the model
    `covariates` on them alone."""
    models: Annotated[list[ModelEntry], AfterValidator(check_distinct_ids)] = Field(
        default_factory=lambda values: default_models(values.get("covariates", [])), min_length=1
    )
    """Models to train, by default the baseline `mean-linear` and the paper's four: a name, or a mapping with `name` and any key of section Model."""
    training: Training = Training()
    """How models are trained: section Training."""
    decisions: Decisions = Decisions()
    """How probabilities become decisions: section Decisions."""
    heatmaps: Heatmaps = Heatmaps()
    """Which models get heat maps: section Heatmaps."""
    ablation: Ablation = Ablation()
    """What `snakemake ablation` compares: section Ablation."""
    search: Search = Search()
    """What `snakemake search` tries: section Search."""
    overhead: Overhead = Overhead()
    """What `snakemake overhead` measures: section Overhead."""
    runtime: Runtime = Runtime()
    """What a run uses of the machine: section Runtime."""
    max_failed_fraction: float = Field(0.05, ge=0, le=1)
    """A data set stops when more than this fraction of its slides failed. Slides without tissue count as failed."""
    slide_timeout: float = Field(SLIDE_TIMEOUT, gt=0)
    """Seconds that reading a slide may stall, without finding its tissue or without further tiles, before it is `timed_out`."""
    slides_per_batch: int = Field(25, ge=1)
    """The most slides that one job segments, tiles or embeds. Which slides those are follows from the ids of all."""

    @property
    def trained_datasets(self) -> list[str]:
        """Data sets that models are trained on: those that validate no other."""
        return [name for name, dataset in self.datasets.items() if not dataset.validates]

    @property
    def external_datasets(self) -> dict[str, str]:
        """By the name of each external data set, the one that its slides' models are trained on."""
        return {name: dataset.validates for name, dataset in self.datasets.items() if dataset.validates}

    @property
    def needs_tiatoolbox(self) -> bool:
        return self.tiatoolbox or self.tissue.needs_tiatoolbox or bool(encoder_spec(self.encoder.name).architecture)

    @property
    def heatmap_models(self) -> list[str]:
        """Ids of the models that get heat maps; none where features come without slides."""
        if self.encoder.is_imported:
            return []
        if self.heatmaps.models is not None:
            return self.heatmaps.models
        return [self._main_model.id] if self._main_model.uses_features else []

    @property
    def _main_model(self) -> Model:
        with_features = [model for model in self.models if model.uses_features] or self.models
        return next((model for model in with_features if model.is_roformer), with_features[0])

    @property
    def ablation_datasets(self) -> list[str]:
        """Data sets on which the variants are compared."""
        return self.trained_datasets if self.ablation.datasets is None else self.ablation.datasets

    @property
    def search_datasets(self) -> list[str]:
        """Data sets on which settings are searched."""
        return self.search.datasets or self.trained_datasets

    @property
    def search_models(self) -> list[Model]:
        """The models whose settings are searched; none by default where no model has layers."""
        layered = [model for model in self.models if not model.is_linear]
        ids = self.search.models or [model.id for model in sorted(layered, key=lambda one: not one.is_roformer)[:1]]
        return [model for model in self.models if model.id in ids]

    @field_validator("datasets")
    @classmethod
    def _no_reserved_names(cls, datasets: dict[str, Dataset]) -> dict[str, Dataset]:
        reserved = [n for n in datasets if n.lower() in RESERVED_FOLDERS or Path(n).suffix.lower() in RESERVED_SUFFIXES]
        if reserved:
            raise ValueError(f"{reserved[0]} is the name of another file or folder in results: choose another name")
        return datasets

    @field_validator("datasets")
    @classmethod
    def _external_ones_fit(cls, datasets: dict[str, Dataset]) -> dict[str, Dataset]:
        """External data sets have the classes of the data set that they validate."""
        fitting = {}
        for name, dataset in datasets.items():
            fitting[name] = dataset
            if dataset.validates is None:
                continue
            trained = datasets.get(dataset.validates)
            if trained is None or trained.validates:
                known = ", ".join(other for other in datasets if not datasets[other].validates) or "there is none"
                raise ValueError(f"{name}.validates: {dataset.validates} is no data set that is trained on: {known}")
            if dataset.classes and dataset.classes != trained.classes:
                wanted = f"those of {dataset.validates} in their order: [{', '.join(trained.classes)}]"
                raise ValueError(f"{name}.classes: leave them out, or give {wanted}")
            fitting[name] = dataset.model_copy(update={"classes": trained.classes})
        return fitting

    @field_validator("results")
    @classmethod
    def _no_wildcards(cls, results: Path) -> Path:
        if set("{}\n") & set(str(results)):
            raise ValueError(f"{str(results)!r} has braces or a line break, which Snakemake's outputs cannot have")
        return results

    @field_validator("tiles", mode="before")
    @classmethod
    def _tiles_of_encoder(cls, tiles: Any, info: ValidationInfo) -> Any:
        """Tile size and resolution are by default those that the encoder was trained on."""
        if "encoder" not in info.data or not isinstance(tiles, dict):
            return tiles
        spec = encoder_spec(info.data["encoder"].name)
        return {"tile_px": spec.tile_px, "target_mpp": spec.mpp, **tiles}

    @model_validator(mode="after")
    def _configured_names(self) -> "Config":
        ids = [model.id for model in self.models]
        for section, named in (("heatmaps", self.heatmaps.models), ("search", self.search.models)):
            if unknown := sorted(set(named or []) - set(ids)):
                raise ValueError(f"{section}.models: {unknown[0]} is none of the models: {', '.join(ids)}")
        weights = self.training.class_weights
        for name, dataset in self.datasets.items():
            if isinstance(weights, tuple) and dataset.classes and len(weights) != len(dataset.classes):
                classes = f"the classes of {name} are {len(dataset.classes)}: {', '.join(dataset.classes)}"
                raise ValueError(f"training.class_weights: {len(weights)} values, but {classes}")
        for section, named in (("ablation", self.ablation.datasets), ("search", self.search.datasets)):
            if unknown := sorted(set(named or []) - set(self.trained_datasets)):
                trained = ", ".join(self.trained_datasets)
                raise ValueError(f"{section}.datasets: {unknown[0]} is none of the datasets trained on: {trained}")
        if linear := [model.id for model in self.search_models if model.is_linear]:
            fitted = "has nothing to search: each fold chooses its one setting, the strength of regularization, already"
            raise ValueError(f"search.models: {linear[0]} {fitted}; leave it out")
        self.search.check_weighting(self.training)
        try:
            self.decisions.check_classes({name: dataset.classes for name, dataset in self.datasets.items()})
        except ValueError as error:
            raise ValueError(f"decisions.{error}") from None
        return self

    @model_validator(mode="after")
    def _covariates_fit(self) -> "Config":
        check_models(self.models, self.covariates)
        if self.ablation.model and self.ablation.model.covariates and not self.covariates:
            raise ValueError(
                "ablation.model: it uses covariates, but none are configured: name columns in `covariates`"
            )
        if using := [model.id for model in self.overhead.models if model.uses_covariates]:
            raise ValueError(f"overhead.models: {using[0]}: covariates take no time to measure: leave it out")
        drawn = self.heatmaps.models or []
        if flat := [model.id for model in self.models if model.id in drawn and not model.uses_features]:
            reason = "it uses covariates alone, so no tile contributes to its predictions"
            raise ValueError(f"heatmaps.models: {flat[0]} has no heat maps: {reason}; leave it out")
        return self

    @model_validator(mode="after")
    def _task_fits(self) -> "Config":
        classes = {name: dataset.classes for name, dataset in self.datasets.items()}
        unfit = list(keys_of_classes(classes, self.training, self.decisions, self.search))
        if self.task != "classification" and unfit:
            raise ValueError(f"task: {self.task} has no classes: {'; '.join(unfit)}")
        return self

    @model_validator(mode="after")
    def _unit_fits(self) -> "Config":
        if self.unit == "slide":
            return self
        if not self.folds.group_by_patient:
            raise ValueError(
                "unit: patient needs folds by patient: leave out folds.mode: paper and group_by_patient: false"
            )
        if models := [model.id for model in self.models if not model.joins_slides]:
            one_grid = "TransMIL lays all tiles of a bag out on one grid, which several slides do not have"
            raise ValueError(
                f"unit: patient cannot train {', '.join(models)}: {one_grid}; leave it out, or set unit: slide"
            )
        return self


def default_models(covariates: Sequence[str]) -> list[Model]:
    """The models that are trained where the configuration names none."""
    return [*(Model(name=name) for name in DEFAULT_MODELS), *(covariate_models() if covariates else ())]


def load_config(path: Path) -> Config:
    """Read and validate a configuration file. Raises ConfigError."""
    path = Path(path).absolute()
    try:
        return read_settings(Config, path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text: save it as UTF-8") from error
