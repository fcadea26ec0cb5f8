"""What is predicted."""

from collections.abc import Iterable, Mapping
from typing import Literal

from roformermil.config.decisions import Decisions
from roformermil.config.search import Search
from roformermil.config.training import Training

TaskName = Literal["classification", "survival", "regression"]
OF_CLASSES = {
    "class_weights": "none",
    "sampler": "shuffle",
    "monitor": "loss",
}  # keys of Training and what all tasks have


def keys_of_classes(
    classes: Mapping[str, list[str]], training: Training, decisions: Decisions, search: Search
) -> Iterable[str]:
    """What only a classification can have and is set, each with what to do. classes: of each data set."""
    leave_out = "leave it out"
    for name, of_dataset in classes.items():
        if of_dataset:
            yield f"datasets.{name}.classes: {leave_out}"
    for key, value in OF_CLASSES.items():
        if getattr(training, key) != value:
            yield f"training.{key}: set it to {value}"
    for key, default in Decisions().model_dump().items():
        if getattr(decisions, key) != default:
            yield f"decisions.{key}: {leave_out}"
    if search.score != "loss":
        yield "search.score: set it to loss"
    if search.space:
        yield f"search.space: {leave_out}, its tables are of AUROC"
