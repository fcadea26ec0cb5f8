"""The description of a packaged model: `model.json` for programs, and a model card, `README.md`, for people."""

from pathlib import Path
from typing import Annotated, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import Field

from roformermil.config import Encoder, Model, Tiles, Tissue
from roformermil.config.base import Settings
from roformermil.runtime.text import markdown_table

FEATURE_ATTRIBUTES = ("encoder", "weights", "target_mpp", "tile_px")  # of a store; they must be those of the training
MEMBER_FILE = r"^fold_\d+\.safetensors$"


class Preparation(Settings):
    """The sections of the configuration that turn a slide into features. Of the weights of a user's own, only the file's name."""

    tissue: Tissue = Tissue()
    tiles: Tiles = Tiles()
    encoder: Encoder = Encoder()

    def without_folders(self) -> "Preparation":
        """The same settings with the names of weights files instead of their paths."""
        sections = self.model_dump()
        for section, file in (("encoder", self.encoder.weights_path), ("tissue", self.tissue.weights)):
            if file:
                sections[section]["weights"] = file.name
        return Preparation.model_validate(sections)

    @property
    def weights_files(self) -> dict[str, Path]:
        """Weights that are files of the user's own, by the option of `predict` that takes them."""
        files = {"--weights": self.encoder.weights_path, "--tissue-weights": self.tissue.weights}
        return {option: file for option, file in files.items() if file}


class Spread(Settings):
    """Smallest, median and largest value over slides."""

    least: float
    median: float
    most: float


class TrainingData(Settings):
    """The data that the ensemble was trained on."""

    dataset: str
    slides: int
    patients: int
    labels: dict[str, int]
    """Slides per class."""
    tiles: Spread
    mpp: Spread | None


class MetricResult(Settings):
    """A metric in cross-validation."""

    metric: str
    mean: float | None
    std: float | None
    ci_low: float | None
    ci_high: float | None
    folds: int


class ModelCard(Settings):
    """The content of `model.json`."""

    roformermil: str
    name: str
    model: Model
    classes: list[str] = Field(min_length=2)
    parameters: int
    members: dict[Annotated[str, Field(pattern=MEMBER_FILE)], str] = Field(min_length=1)
    """Files of the ensemble's members and their sha256."""
    features: dict[str, str | int | float | None]
    """FEATURE_ATTRIBUTES of the features that the model was trained on."""
    settings: Preparation
    training_data: TrainingData
    results: list[MetricResult] = Field(min_length=1)
    cautions: list[str]
    run: dict[str, Any]

    @property
    def takes_slides(self) -> bool:
        """Whether it can encode slides; a model that was trained on imported features takes only such features."""
        return self.features["weights"] is not None


def render_card(card: ModelCard) -> str:
    """The model card, in Markdown."""
    loader = PackageLoader("roformermil.deployment")
    templates = Environment(loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    results = markdown_table(["metric", "mean ± std", "95% interval"], map(_result_cells, card.results))
    content = {"features": card.features, "data": card.training_data, "own_weights": card.settings.weights_files}
    return templates.get_template("model_card.md.j2").render(card=card, results=results, **content) + "\n"


def _result_cells(result: MetricResult) -> tuple[str, str, str]:
    mean = "none" if result.mean is None else f"{result.mean:.3f}"
    std = "" if result.std is None else f" ± {result.std:.3f}"
    interval = "none" if result.ci_low is None else f"{result.ci_low:.3f} to {result.ci_high:.3f}"
    return result.metric, mean + std, interval
