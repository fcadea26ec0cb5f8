"""The view of a folder that `predict` wrote."""

import json
from pathlib import Path
from typing import Any

from roformermil.cohort.slide_table import SlideRecord
from roformermil.evaluation.predictions import read_table
from roformermil.tasks import Classification, Task, task_of_columns
from roformermil.viewer.views import ShownSlide, View, with_absolute_paths, with_prediction

TABLE = "predictions.csv"
REMEDY = "Run `roformermil predict` again, without --no-heatmaps or with --geojson"


def is_predicted(folder: Path) -> bool:
    """Whether `predict` wrote its table into this folder; a fold's predictions.csv has no column status."""
    return (folder / TABLE).is_file() and {"path", "status"} <= set(read_table(folder / TABLE).columns)


def predicted_view(folder: Path, root: Path | None) -> View:
    """The slides of predictions.csv, and what the ensemble predicted."""
    table = read_table(folder / TABLE)
    task = task_of_columns(table.columns) or Classification()
    rows = json.loads(table.to_json(orient="records"))  # without NaN: missing numbers are None
    records = with_absolute_paths([_read_record(row) for row in rows], folder, root)
    slides = {one.slide_id: _shown_slide(one, row, task) for one, row in zip(records, rows, strict=True)}
    folders = (folder / "tissue", folder / "tiles", folder / "heatmaps")
    return View(
        folder.absolute().name, "", "ensemble", list(task.mapped), slides, *folders, REMEDY, unit=task.contribution_unit
    )


def _read_record(row: dict[str, Any]) -> SlideRecord:
    tiles = None if row.get("tiles") is None else int(row["tiles"])
    status, message, warnings = (row.get(name) or "" for name in ("status", "message", "warnings"))
    path = Path(row["path"])
    return SlideRecord(str(row["slide_id"]), path, status=status, message=message, tiles=tiles, warnings=warnings)


def _shown_slide(record: SlideRecord, row: dict[str, Any], task: Task) -> ShownSlide:
    values, label = [row[name] for name in task.columns], row.get("label") or ""
    shown = ShownSlide(record, row.get("patient_id") or "", label, spread=row.get("disagreement"))
    return shown if None in values else with_prediction(shown, task, values)
