"""The table `predictions.csv` of `predict`: one row per slide."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from roformermil.cohort.slide_files import content_id
from roformermil.cohort.slide_table import SlideRecord
from roformermil.config import Unit
from roformermil.deployment.model_card import Spread
from roformermil.errors import ConfigError, Status
from roformermil.evaluation.shift import UNLIKE, Reference, mean_vector
from roformermil.models.inference import Prediction
from roformermil.runtime.records import write_rows
from roformermil.runtime.text import join_some
from roformermil.tasks import Task, as_task

Row = dict[str, Any]
SHUFFLED = "shuffled_"  # before the name of a column: the same with the positions of tiles shuffled


def table_row(
    record: SlideRecord, task: Task | Sequence[str], model: str, shuffled: bool = False, patient: str = ""
) -> Row:
    """The row of a slide without a prediction. task: or the classes of a classification; shuffled: also with the columns of `shuffled_fields`."""
    task = as_task(task)
    names = [*task.decided, *task.columns, "disagreement", "tiles", "distance", "farther"]
    fields = {
        "slide_id": record.slide_id,
        "patient_id": patient,
        "path": record.path.absolute(),
        "status": record.status,
        "message": record.message,
    }
    row = (
        fields | dict.fromkeys(names) | {"warnings": record.warnings, "heatmap": None, "geojson": None, "model": model}
    )
    return row | dict.fromkeys(_shuffled_columns(task) if shuffled else ())


def prediction_fields(
    record: SlideRecord,
    prediction: Prediction,
    members: Sequence[Prediction],
    task: Task | Sequence[str],
    training_tiles: Spread,
    bag_tiles: int | None = None,
    unit: Unit = "slide",
) -> Row:
    """What a prediction fills in. disagreement: the range of the members' probabilities of the predicted class, or of
    another task of their first value;
    warnings: the slide's own, members that predict another class, more or fewer tiles than any slide in training.

    bag_tiles, unit: the tiles of all slides of the patient, where the model's bags are patients.
    """
    task, tiles = as_task(task), len(prediction.attention)
    predicted = int(prediction.values.argmax()) if task.classes else 0
    of_members = [float(member.values[predicted]) for member in members]
    warnings = [record.warnings] if record.warnings else []
    least, most = training_tiles.least, training_tiles.most
    if task.classes and (others := sum(member.values.argmax() != predicted for member in members)):
        warnings.append(f"{others} of {len(members)} members predict another class")
    in_bag = bag_tiles or tiles
    if not least <= in_bag <= most:
        range_text = f"{least:,.0f} to {most:,.0f}" if least < most else f"{least:,.0f} each"
        of_all = " of all slides" if unit == "patient" else ""
        text = f"{in_bag:,} {'tile' if in_bag == 1 else 'tiles'}{of_all}, the training {unit}s had {range_text}"
        warnings.append(text)
    return {
        **({"predicted": task.classes[predicted]} if task.classes else {}),
        **dict(zip(task.columns, prediction.values.tolist(), strict=True)),
        "disagreement": max(of_members) - min(of_members),
        "tiles": tiles,
        "warnings": "; ".join(warnings),
    }


def shift_fields(fields: Row, features: np.ndarray, reference: Reference) -> Row:
    """What a comparison with the training slides fills in: the `distance` from them, the share of them that is `farther`, and a
    warning where the slide looks unlike them.

    fields: those of `prediction_fields`; features: (n, F) of the slide.
    """
    (distance,), (farther,) = reference.compare(mean_vector(features)[None])
    if not len(reference.distances):
        return {"distance": float(distance)}
    unlike = f"looks unlike the training slides: {farther:.0%} of these are as far from the others"
    warnings = [fields["warnings"], unlike if farther <= UNLIKE else ""]
    return {"distance": float(distance), "farther": float(farther), "warnings": "; ".join(filter(None, warnings))}


def shuffled_fields(predictions: np.ndarray, task: Task | Sequence[str]) -> Row:
    """What a prediction with shuffled positions fills in. predictions: (P,)."""
    task = as_task(task)
    predicted = [task.classes[int(predictions.argmax())]] if task.classes else []
    return dict(zip(_shuffled_columns(task), (*predicted, *predictions.tolist()), strict=True))


def _shuffled_columns(task: Task) -> list[str]:
    return [SHUFFLED + name for name in (*(["predicted"] if task.classes else []), *task.columns)]


def write_prediction_table(path: Path, rows: Sequence[Row]) -> list[Row]:
    """The rows of the table that is written: these after those of other slides that the same model predicted before. A column that only some rows have, as
    those with shuffled positions, is empty in the others."""
    current, model = {row["slide_id"] for row in rows}, rows[0]["model"]
    earlier = [row for row in _read_rows(path) if row["slide_id"] not in current and row["model"] == model]
    columns = dict.fromkeys(name for row in [*earlier, *rows] for name in row)
    table = [dict.fromkeys(columns) | row for row in [*earlier, *rows]]
    write_rows(path, table)
    return table


def check_names(path: Path, records: Sequence[SlideRecord]) -> None:
    """Raises ConfigError where the table has a prediction of another slide of the same name, which these would replace.

    The same slide may be in another folder now.
    """
    earlier = {row["slide_id"]: Path(row["path"]) for row in _read_rows(path) if row["status"] == Status.OK}
    others = [
        f"{record.slide_id} ({record.path.absolute()}; earlier {before})"
        for record in records
        if (before := earlier.get(record.slide_id)) and not _is_same_slide(record.path, before)
    ]
    if others:
        problem = f"{path.absolute()} has predictions of other slides of the same names: {join_some(others)}"
        raise ConfigError(f"{problem}. Predict these into another folder (--out), or delete their rows from that file")


def _is_same_slide(path: Path, before: Path) -> bool:
    if path.absolute() == before.absolute():
        return True
    try:
        return content_id(path) == content_id(before)
    except OSError:  # one of them does not exist
        return False


def _read_rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
