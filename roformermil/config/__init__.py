"""What can be asked for: the one typed source of every setting, its default and its meaning.

`workflow/schemas/config.schema.json` is generated from here (`roformermil.schema`); a test holds the two in step.
The defaults are the paper's values where the paper gives one.
"""

from pathlib import Path

from pydantic import Field, field_validator, model_validator

from roformermil.config.encoder import Encoder
from roformermil.config.encoder_specs import encoder_spec
from roformermil.config.slides import METHOD_KEYS, Dataset, Name, Source, Tiles, Tissue
from roformermil.config.studies import Ablation, Heatmaps, Overhead
from roformermil.config.training import Audit, Folds, Model, ModelEntry, ModelName, Training, named_once
from roformermil.errors import ConfigError
from roformermil.settings import Settings, read_settings

__all__ = [
    "METHOD_KEYS", "Ablation", "Audit", "Config", "Dataset", "Encoder", "Folds", "Heatmaps", "Model", "ModelName", "Overhead", "Source", "Tiles",
    "Tissue", "Training", "load_config",
]  # fmt: skip

PAPER_MODELS: tuple[ModelName, ...] = ("abmil", "ro-abmil", "dsmil", "ro-dsmil")


class Config(Settings):
    """Everything a run can be asked for."""

    datasets: dict[Name, Dataset] = Field(min_length=1)
    """Data sets by name."""
    results: Path = Path("results")
    """Folder of all output."""
    tiatoolbox: bool = False
    """With `--use-conda`: read slides in the environment that has tiatoolbox and timm (`envs/tissue.yaml`). Tissue methods
    and encoders that need it choose it themselves; formats that need it do not."""
    tissue: Tissue = Tissue()
    """Where tissue is sought: section Tissue."""
    tiles: Tiles = Tiles()
    """Which tiles are cut: section Tiles."""
    encoder: Encoder = Encoder()
    """What turns tiles into vectors: section Encoder."""
    folds: Folds = Folds()
    """How slides are divided: section Folds."""
    audit: Audit = Audit()
    """What a leak does: section Audit."""
    models: list[ModelEntry] = Field(default_factory=lambda: [Model(name=name) for name in PAPER_MODELS], min_length=1)
    """Models to train, by default the paper's four: a name, or a mapping with `name` and any key of section Model."""
    training: Training = Training()
    """How models are trained: section Training."""
    heatmaps: Heatmaps = Heatmaps()
    """Which models get heat maps: section Heatmaps."""
    ablation: Ablation = Ablation()
    """What is compared by `snakemake ablation`: section Ablation."""
    overhead: Overhead = Overhead()
    """What is measured by `snakemake overhead`: section Overhead."""
    max_failed_fraction: float = Field(0.05, ge=0, le=1)
    """A data set stops when more than this fraction of its slides failed. Slides without tissue count as failed."""
    slide_timeout: float = Field(600.0, gt=0)
    """Seconds that reading a slide may stand still: without its tissue found, or without more tiles, it is `timed_out`."""
    slides_per_batch: int = Field(25, ge=1)
    """Slides that one job segments, tiles or embeds."""

    @property
    def needs_tiatoolbox(self) -> bool:
        return self.tiatoolbox or self.tissue.needs_tiatoolbox or bool(encoder_spec(self.encoder.name).architecture)

    @property
    def heatmap_models(self) -> list[str]:
        """Ids of the models that get heat maps; none where features come without pixels."""
        if self.encoder.is_imported:
            return []
        if self.heatmaps.models is not None:
            return self.heatmaps.models
        return [next((model for model in self.models if model.is_roformer), self.models[0]).id]

    @model_validator(mode="after")
    def _heatmaps_of_models(self) -> "Config":
        known = [model.id for model in self.models]
        if unknown := set(self.heatmaps.models or []) - set(known):
            raise ValueError(f"heatmaps.models: {sorted(unknown)[0]} is none of the models: {', '.join(known)}")
        return self

    @model_validator(mode="after")
    def _tiles_of_the_encoder(self) -> "Config":
        spec = encoder_spec(self.encoder.name)
        usual = {"size": spec.tile_px, "mpp": spec.mpp}
        given = {key: getattr(self.tiles, key) for key in self.tiles.model_fields_set}
        object.__setattr__(self, "tiles", Tiles(**{**usual, **given}))
        return self

    @field_validator("datasets")
    @classmethod
    def _folders(cls, datasets: dict[str, Dataset]) -> dict[str, Dataset]:
        if taken := {"logs", "benchmarks", "overhead"} & set(datasets):
            raise ValueError(f"{taken.pop()} is a folder of the results already: choose another name")
        return datasets

    @field_validator("models")
    @classmethod
    def _labels(cls, models: list[Model]) -> list[Model]:
        return named_once(models)


def load_config(path: Path) -> Config:
    """Read and validate a configuration file."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    return read_settings(Config, text, where=str(path))
