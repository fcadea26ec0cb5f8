"""What is predicted of a bag: its class, a time to an event, or a number. One file a task, one object each."""

import json
from collections.abc import Iterable, Mapping, Sequence

from roformermil.config import Config
from roformermil.config.task import TaskName
from roformermil.tasks.base import Task
from roformermil.tasks.classification import PROBABILITY_PREFIX, Classification
from roformermil.tasks.regression import Regression
from roformermil.tasks.survival import Survival

TASKS: dict[TaskName, type[Task]] = {"classification": Classification, "survival": Survival, "regression": Regression}

CLASSIFICATION = Classification()  # whatever the classes are
METRIC_TITLES = {name: title for task in TASKS.values() for name, title in task.metrics.items()}


def task_with(metrics: Iterable[str]) -> Task:
    """The task, not fitted, of a table's metrics. Raises StopIteration for those of none."""
    by_metric = {name: task for task in TASKS.values() for name in task.metrics}
    return next(by_metric[name] for name in metrics if name in by_metric)()


def task_of_columns(columns: Iterable[str]) -> Task | None:
    """The task, not fitted, of a table of predictions with these columns; None for those of none."""
    known = list(columns)
    if classes := [name.removeprefix(PROBABILITY_PREFIX) for name in known if name.startswith(PROBABILITY_PREFIX)]:
        return Classification(tuple(classes))
    tasks = (TASKS[name]() for name in TASKS if name != Classification.name)
    return next((task for task in tasks if set(task.columns) <= set(known)), None)


def make_task(name: TaskName, classes: Sequence[str] = ()) -> Task:
    """The task of a configuration, before it is fitted to labels. classes: of a data set, for classification alone."""
    return Classification(tuple(classes)) if name == "classification" else TASKS[name]()


def as_task(task: Task | Sequence[str]) -> Task:
    """The task, or the classification of these classes."""
    return task if isinstance(task, Task) else Classification(tuple(task))


def task_of(config: Config, dataset: str) -> Task:
    """The task of a data set of the configuration, before it is fitted to labels."""
    return make_task(config.task, config.datasets[dataset].classes)


def read_task(text: str) -> Task:
    """The task that `Task.to_json` wrote. Raises KeyError, TypeError or ValueError for another text."""
    settings = json.loads(text)
    return TASKS[settings.pop("task")](**{key: tuple(v) if isinstance(v, list) else v for key, v in settings.items()})


def trained_task(metadata: Mapping[str, str]) -> Task:
    """The fitted task in a model's metadata; without one, as of earlier releases, the classification of its classes.

    Raises KeyError, TypeError or ValueError for other metadata."""
    return read_task(metadata["task"]) if "task" in metadata else as_task(json.loads(metadata["classes"]))
