from rich.progress import Progress, TextColumn, TimeElapsedColumn

from roformermil.project.live_view import StepTimeColumn, time_steps


class Handler:
    def __init__(self, progress):
        self.progress = progress


def test_a_steps_time_counts_from_its_first_job_to_its_last():
    clock = {"now": 0.0}
    progress = Progress(TextColumn("{task.description}"), TimeElapsedColumn(), get_time=lambda: clock["now"])
    time_steps([Handler(progress), object()])
    column = progress.columns[1]
    assert isinstance(column, StepTimeColumn) and isinstance(progress.columns[0], TextColumn)
    progress.add_task("train", total=2, visible=False)  # as the plugin does when the run starts
    shown = []
    for now, completed in ((100, 0), (130, 1), (172, 2), (500, 2)):
        clock["now"] = float(now)
        progress.update(progress.task_ids[0], completed=completed, visible=True)
        shown.append(column.render(progress.tasks[0]).plain)
    assert shown == ["0:00:00", "0:00:30", "0:01:12", "0:01:12"]
