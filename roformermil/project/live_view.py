"""A change to the live view of Snakemake's logger plugin `rich`: the time of a step counts from its first job.

The plugin makes the bars of all steps when the run starts, hidden until the step's first job, and counts from there.
"""

from collections.abc import Iterable
from typing import Any

from rich.progress import Progress, Task, TimeElapsedColumn
from rich.text import Text


class StepTimeColumn(TimeElapsedColumn):
    """The time since a bar was first shown, and in the end how long it took from then on."""

    def __init__(self) -> None:
        super().__init__()
        self._shown_at: dict[int, float] = {}

    def render(self, task: Task) -> Text:
        now = task.get_time()
        first = self._shown_at.setdefault(task.id, now)
        ended = now
        if task.start_time is not None and task.finished_time is not None:
            ended = task.start_time + task.finished_time
        minutes, seconds = divmod(round(max(0.0, ended - first)), 60)
        return Text(f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}", style="progress.elapsed")


def time_steps(handlers: Iterable[Any]) -> None:
    """Replace the time column of the live view, where one of Snakemake's log handlers shows it."""
    for handler in handlers:
        progress = getattr(handler, "progress", None)
        if isinstance(progress, Progress):
            progress.columns = tuple(StepTimeColumn() if type(c) is TimeElapsedColumn else c for c in progress.columns)
