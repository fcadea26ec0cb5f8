"""The description of a packaged model: `model.json` for programs, and a model card, `README.md`, for people."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import Field

from roformermil.config import Encoder, Model, Tiles, Tissue, Training, Unit
from roformermil.config.base import Settings, read_settings
from roformermil.config.task import TaskName
from roformermil.config.training import grid_augmentation
from roformermil.deployment.covariates import PackagedCovariate
from roformermil.deployment.operating_point import PackagedDecisions
from roformermil.evaluation.balance import balance_sentences
from roformermil.evaluation.chance import chance_warning
from roformermil.runtime.text import markdown_table
from roformermil.tasks import METRIC_TITLES, Task, make_task

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
    """Smallest, median and largest value over slides, or over patients where these are the unit."""

    least: float
    median: float
    most: float


class TrainingData(Settings):
    """The data that the ensemble was trained on."""

    dataset: str
    slides: int
    patients: int
    labels: dict[str, int]
    """Slides per class, or patients where these are the unit; none of a task without classes."""
    labels_text: str = ""
    """What the labels of another task are."""
    tiles: Spread
    mpp: Spread | None


class MetricResult(Settings):
    """A metric in cross-validation: a row of summary.csv."""

    metric: str
    mean: float | None
    std: float | None
    ci_low: float | None
    ci_high: float | None
    folds: int
    seeds: int
    seed_std: float | None
    """Standard deviation over seeds of the mean over folds."""
    shuffled: float | None
    """The metric with the tiles' positions shuffled; none for a model that uses no positions, like the next three."""
    shuffled_difference: float | None
    """By how much shuffling lowers the metric, and the 95% interval of that."""
    difference_low: float | None
    difference_high: float | None


class ModelCard(Settings):
    """The content of `model.json`."""

    roformermil: str
    name: str
    model: Model
    task: TaskName = "classification"
    classes: list[str]
    """In the order of their index; none of a task other than classification."""
    columns_text: str = ""
    """What the columns of predictions are, where their names do not say it."""
    cut: float | None = None
    """Survival: the risk above which a slide is in the group `high`, the median risk of validation patients."""
    parameters: int
    members: dict[Annotated[str, Field(pattern=MEMBER_FILE)], str] = Field(min_length=1)
    """Files of the ensemble's members and their sha256."""
    reference: str
    """The sha256 of reference.safetensors: what the training slides look like."""
    features: dict[str, str | int | float | None]
    """FEATURE_ATTRIBUTES of the features that the model was trained on."""
    settings: Preparation
    training: Training
    training_data: TrainingData
    unit: Unit = "slide"
    """What its bags are: `slide`, or all slides of a `patient`."""
    covariates: list[PackagedCovariate] = Field([])
    """What a slide sheet must have for each slide, beside its file."""
    by_patient: list[MetricResult] = Field([])
    """Results by patient, of the mean prediction for their slides; none where no patient has several."""
    results: list[MetricResult] = Field(min_length=1)
    repeats: int = 1
    """Of the whole cross-validation; the members are the models of the first."""
    decisions: PackagedDecisions
    position: str
    """What shuffling the tiles' positions did to AUROC, in a sentence; empty for a model that uses no positions."""
    cautions: list[str]
    run: dict[str, Any]

    @property
    def predicted(self) -> Task:
        """The task, not fitted."""
        return make_task(self.task, self.classes)

    @property
    def takes_slides(self) -> bool:
        """Whether it can encode slides; a model that was trained on imported features takes only such features."""
        return self.features["weights"] is not None

    @property
    def chance_warning(self) -> str:
        """That the model is not better than chance, by its main metric in cross-validation; "" for one that is."""
        main = self.predicted.main
        result = next((one for one in self.results if one.metric == main), None)
        name = f"{self.model.id} on {self.training_data.dataset}"
        return chance_warning(name, result.mean, result.ci_low, result.ci_high, metric=main) if result else ""

    @property
    def all_cautions(self) -> list[str]:
        """What to be careful about in the model's results, the most important first."""
        return [*filter(None, [self.chance_warning]), *self.cautions]


def read_card(folder: Path) -> ModelCard:
    """The card in a folder that `package` wrote. Raises ConfigError for one of another version."""
    return read_settings(ModelCard, (folder / "model.json").read_text(encoding="utf-8"), str(folder / "model.json"))


def render_card(card: ModelCard) -> str:
    """The model card, in Markdown."""
    loader = PackageLoader("roformermil.deployment")
    templates = Environment(loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    content = {"features": card.features, "data": card.training_data, "own_weights": card.settings.weights_files}
    content |= {"results": _results_table(card.results, card.classes), "training": _training_sentences(card)}
    content |= {"by_patient": _results_table(card.by_patient, card.classes) if card.by_patient else ""}
    return templates.get_template("model_card.md.j2").render(card=card, **content) + "\n"


def _training_sentences(card: ModelCard) -> list[str]:
    """What was done to features and positions in training, as far as this model's predictions depend on it."""
    training, sentences = card.training, []
    if card.model.is_linear:
        inputs = "the mean of all tiles' features" if card.model.uses_features else "its covariates"
        regression = f"A {card.unit}'s prediction is a {card.predicted.linear_model} of {inputs}"
        sentences.append(
            f"{regression}; the strength of its regularization was chosen on each fold's validation {card.unit}s."
        )
    origin = "of each fold's training slides, kept in the model's file"
    if training.normalize == "standardize" and card.model.uses_features:
        sentences.append(f"Features are standardized with the mean and standard deviation {origin}.")
    if training.normalize == "center" and card.model.uses_features:
        sentences.append(f"Features are centered on the mean {origin}.")
    if card.covariates:
        moments = f"mean and standard deviation of each fold's training {card.unit}s"
        sentences.append(
            f"Numbers among the covariates are standardized with the {moments}; a missing one is their mean."
        )
    if card.classes:
        sentences += balance_sentences(training, card.classes, card.training_data.labels, card.unit)
    if not card.model.uses_position:
        return sentences
    if training.augment_grid != "none":
        rotates = grid_augmentation(training, card.model) == "rotate"
        moves = "turned by any angle and scaled by 0.8 to 1.25" if rotates else "flipped and turned by right angles"
        sentences.append(f"In each training step, the grid of each slide's tiles was {moves} at random.")
    if training.average_orientations:
        sentences.append("A prediction is the mean over the eight orientations of the grid.")
    return sentences


def _results_table(results: list[MetricResult], classes: Sequence[str]) -> str:
    """A row per metric; without columns that would be empty."""
    columns = {
        "metric": [result.metric if classes else METRIC_TITLES[result.metric] for result in results],
        "mean ± std": [_mean_text(result) for result in results],
        "95% interval": [_interval_text(result.ci_low, result.ci_high) for result in results],
    }
    if results[0].seeds > 1:
        columns["std over seeds"] = [_number_text(result.seed_std) for result in results]
    if any(result.shuffled is not None for result in results):
        columns["positions shuffled"] = [_number_text(result.shuffled) for result in results]
        columns["difference"] = [_number_text(result.shuffled_difference) for result in results]
        columns["its 95% interval"] = [_interval_text(one.difference_low, one.difference_high) for one in results]
    return markdown_table(list(columns), zip(*columns.values(), strict=True))


def _mean_text(result: MetricResult) -> str:
    return _number_text(result.mean) + ("" if result.std is None else f" ± {result.std:.3f}")


def _interval_text(low: float | None, high: float | None) -> str:
    return "none" if low is None else f"{low:.3f} to {high:.3f}"


def _number_text(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"
