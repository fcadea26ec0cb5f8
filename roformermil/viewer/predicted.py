"""The view of a folder that `predict` wrote."""

import json
from pathlib import Path
from typing import Any

from roformermil.cohort.slide_table import SlideRecord
from roformermil.evaluation.predictions import read_table
from roformermil.tasks.class_metrics import PROBABILITY_PREFIX
from roformermil.viewer.views import ShownSlide, View, with_absolute_paths

TABLE = "predictions.csv"
REMEDY = "Run `roformermil predict` again, without --no-heatmaps or with --geojson"


def is_predicted(folder: Path) -> bool:
    """Whether `predict` wrote its table into this folder; a fold's predictions.csv has no column status."""
    return (folder / TABLE).is_file() and {"path", "status"} <= set(read_table(folder / TABLE).columns)


def predicted_view(folder: Path, root: Path | None) -> View:
    """The slides of predictions.csv, and what the ensemble predicted."""
    table = read_table(folder / TABLE)
    columns = [name for name in table.columns if name.startswith(PROBABILITY_PREFIX)]
    rows = json.loads(table.to_json(orient="records"))  # without NaN: missing numbers are None
    records = with_absolute_paths([_read_record(row) for row in rows], folder, root)
    slides = {one.slide_id: _shown_slide(one, row, columns) for one, row in zip(records, rows, strict=True)}
    classes = [name.removeprefix(PROBABILITY_PREFIX) for name in columns]
    folders = (folder / "tissue", folder / "tiles", folder / "heatmaps")
    return View(folder.absolute().name, "", "ensemble", classes, slides, *folders, REMEDY)


def _read_record(row: dict[str, Any]) -> SlideRecord:
    tiles = None if row.get("tiles") is None else int(row["tiles"])
    status, message, warnings = (row.get(name) or "" for name in ("status", "message", "warnings"))
    path = Path(row["path"])
    return SlideRecord(str(row["slide_id"]), path, status=status, message=message, tiles=tiles, warnings=warnings)


def _shown_slide(record: SlideRecord, row: dict[str, Any], columns: list[str]) -> ShownSlide:
    values = [row[name] for name in columns]
    probabilities = () if None in values else tuple(values)
    return ShownSlide(
        record, row.get("patient_id") or "", row.get("label") or "", probabilities, None, row.get("disagreement")
    )
