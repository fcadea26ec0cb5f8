"""The text of a new project's configuration: a reason on every line, and values that fit the number of slides."""

import math
import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Any

import yaml

from roformermil.config import Config
from roformermil.config.tiles import MPP_AT_1X, Tiles
from roformermil.runtime.text import plural
from roformermil.tasks import Classification, Regression, Task

MAX_FAILED = float(Config.model_fields["max_failed_fraction"].default)
TOLERANCE = float(Tiles.model_fields["tolerance"].default)
RESOLUTIONS = (0.5, 1.0, 2.0, 4.0)  # um/px; 20x, 10x, ...
WIDTH = 120
PARTS = {3: "third", 5: "fifth", 10: "tenth"}
TEN_FOLDS_FROM, FIVE_FOLDS_FROM, LEAST_FOLDS = 50, 10, 3  # patients of the smallest class, or with an event
UNFITTED_FOLDS = (
    "then each fold tests a fifth of the patients and trains on others"  # the reason for folds without labels
)
NEGATIVE = re.compile(
    r"(non|not|no)([\W_].*)?|non.*|.*neg(ative)?|0|false|wt|wild.?type|normal|benign|healthy|control|absent|mss|low.*",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class ProjectFacts:
    """What the configuration of a project follows from."""

    name: str  # of the data set
    sheet: Path
    root: Path
    task: Task  # with the classes of the labels
    labels: Sequence[str]  # of slides that are not excluded; "" for none
    patients: Sequence[str]  # of the same slides
    mpps: Sequence[float] = ()  # um/px of slides that state it

    @property
    def labelled(self) -> tuple[list[str], list[str]]:
        """The labels, and the patients, of the slides that have a label."""
        pairs = [pair for pair in zip(self.labels, self.patients, strict=True) if pair[0]]
        return [label for label, _ in pairs], [patient for _, patient in pairs]

    @property
    def patients_of_groups(self) -> dict[str, int]:
        """The number of patients in each group of the task, as of `Task.groups`."""
        groups = self.task.groups(self.task.targets(self.labels))
        return {name: len(set(compress(self.patients, rows))) for name, rows in groups.items()}

    @property
    def missing(self) -> str:
        """Why nothing can be trained yet, "" where it can: with two classes, an event, or a number."""
        if not self.labelled[0]:
            return "no slide has a label yet"
        if isinstance(self.task, Classification) and len(self.task.classes) == 1:
            return f"all labels are {self.task.classes[0]}"
        absent = [name for name, count in self.patients_of_groups.items() if not count]
        return f"no patient {absent[0]}" if absent else ""


def config_text(facts: ProjectFacts, file: Path) -> str:
    """The configuration as YAML that goes to `file`."""
    name, results = facts.name, f"results/{facts.name}"
    entries = [
        ("datasets:", ""),
        (f"  {_yaml(name)}:", "the data set's name, in folders and tables"),
        (
            f"    slides: {_yaml(str(facts.sheet))}",
            f"the slide sheet: {plural(len(facts.labels), 'slide')} in use, one per row",
        ),
        (f"    root: {_yaml(str(facts.root))}", "the slide sheet's paths are relative to this folder"),
        _labels(facts),
        (f"results: {_yaml(results)}", "all output goes there, and nothing else"),
        _tiles(facts.mpps),
        (
            "encoder: {name: resnet50, weights: imagenet}",
            "the paper's; 100 MB, downloaded once. With a GPU, a foundation model of pathology (uni, virchow2) is often better",
        ),
        _folds(facts),
        (
            "models: [mean-linear, abmil, ro-abmil, dsmil, ro-dsmil]",
            "the paper's; those with ro- know where tiles lie. Fewer are faster",
        ),
        _losses(len(facts.labels)),
    ]
    head = [
        f"# The configuration of {name}. What is left out has a default. Every key: roformermil schema --markdown",
        "# Relative paths count from the folder in which you run these commands:",
        f"#   roformermil check {file}        opens every slide, finds mistakes before hours of computing",
        f"#   roformermil run {file} tissue   then look at {results}/{name}/tissue.html before you go on",
        f"#   roformermil run {file}          the rest; Ctrl-C stops it, the same command resumes",
    ]
    return "\n".join([*head, *(_with_reason(*entry) for entry in entries)]) + "\n"


def _with_reason(setting: str, reason: str) -> str:
    """A line of the configuration with its reason behind it, or above where the line would be too long."""
    line = f"{setting} # {reason}" if reason else setting
    if len(line) <= WIDTH:
        return line
    indent = " " * (len(setting) - len(setting.lstrip()))
    comment = textwrap.wrap(reason, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
    return "\n".join([*comment, setting])


def order_classes(labels: Iterable[str]) -> list[str]:
    """The classes with those that seem negative first, since of two the second is the positive one; else by name."""
    return sorted(labels, key=lambda label: (not NEGATIVE.fullmatch(label), label))


def _labels(facts: ProjectFacts) -> tuple[str, str]:
    if isinstance(facts.task, Classification):
        return _classes(facts)
    columns, labels = " and ".join(facts.task.sheet_columns), facts.labelled
    why = facts.task.describe(*labels) if labels[0] else f"{facts.missing}: {facts.task.label_help}"
    return f"task: {facts.task.name}", f"{facts.task.predicts}, from column {columns} of the slide sheet; {why}"


def _classes(facts: ProjectFacts) -> tuple[str, str]:
    names = facts.task.classes
    if facts.missing:
        remedy = "fill in column label of the slide sheet, then name its labels here, without the #"
        return (
            "    # classes: [negative, positive]",
            f"{facts.missing}: {remedy}. Of two, the second is the positive one",
        )
    counts = ", ".join(f"{facts.labels.count(name)} {name}" for name in names)
    positive = f"; {names[1]} is the positive class, exchange them if that is wrong" if len(names) == 2 else ""
    return f"    classes: {_yaml(list(names))}", f"slides: {counts}{positive}"


def _tiles(mpps: Sequence[float]) -> tuple[str, str]:
    finest = RESOLUTIONS[0]
    target = next((mpp for mpp in RESOLUTIONS if _coarser(mpps, mpp) <= MAX_FAILED * len(mpps)), RESOLUTIONS[-1])
    power, coarse = f"{MPP_AT_1X / target:g}x", _coarser(mpps, target)
    why = f"tiles of 256 px of {target} um ({power}), as in the paper; 0.25 is 40x, 1.0 is 10x"
    if target != finest:
        why = f"{power}: {_coarser(mpps, finest)} of {len(mpps)} slides are too coarse for {finest} (20x)"
    if coarse:
        why += f"; {plural(coarse, 'slide')} coarser than that cannot be used"
    return f"tiles: {{tile_px: 256, target_mpp: {target}}}", why


def _coarser(mpps: Sequence[float], target: float) -> int:
    return sum(mpp > target * (1 + TOLERANCE) for mpp in mpps)


def _folds(facts: ProjectFacts) -> tuple[str, str]:
    if facts.missing:
        return ("folds: {count: 5}", f"{facts.missing}; {UNFITTED_FOLDS}")
    smallest, group = min((count, name) for name, count in facts.patients_of_groups.items())
    shared = smallest / 2 if isinstance(facts.task, Regression) else smallest  # as of two classes of one size
    count = 10 if shared >= TEN_FOLDS_FROM else 5 if shared >= FIVE_FOLDS_FROM else LEAST_FOLDS
    why = f"each tests a {PARTS[count]} of the patients; {plural(smallest, 'patient')} {group}"
    if smallest < LEAST_FOLDS:
        why = f"only {plural(smallest, 'patient')} {group}, but training needs {LEAST_FOLDS}"
    return f"folds: {{count: {count}}}", why


def _losses(slides: int) -> tuple[str, str]:
    if slides * MAX_FAILED >= 1 or not slides:
        why = "with more unusable slides than this share a run stops, before hours of encoding"
        return f"max_failed_fraction: {MAX_FAILED}", why
    share = math.ceil(100 / slides) / 100
    return (
        f"max_failed_fraction: {share}",
        f"one of {slides} slides may be unusable; with more a run stops, before hours of encoding",
    )


def _yaml(value: Any) -> str:
    """A text or list on one line, in quotes where YAML needs them."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=math.inf)
    return text.removesuffix("...\n").strip()
