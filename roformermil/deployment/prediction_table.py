"""The table `predictions.csv` of `predict`: one row per slide."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from roformermil.cohort.slide_files import content_id
from roformermil.cohort.slide_table import SlideRecord
from roformermil.deployment.model_card import Spread
from roformermil.errors import ConfigError, Status
from roformermil.evaluation.metrics import PROBABILITY_PREFIX, probability_columns
from roformermil.models.inference import Prediction
from roformermil.runtime.records import write_rows
from roformermil.runtime.text import join_some

Row = dict[str, Any]


def table_row(record: SlideRecord, classes: Sequence[str], model: str) -> Row:
    """The row of a slide without a prediction."""
    names = ["predicted", *probability_columns(classes), "disagreement", "tiles"]
    fields = {
        "slide_id": record.slide_id,
        "path": record.path.absolute(),
        "status": record.status,
        "message": record.message,
    }
    return fields | dict.fromkeys(names) | {"warnings": record.warnings, "heatmap": None, "model": model}


def prediction_fields(
    record: SlideRecord,
    prediction: Prediction,
    members: Sequence[Prediction],
    classes: Sequence[str],
    training_tiles: Spread,
) -> Row:
    """What a prediction fills in. disagreement: the range of the members' probabilities of the predicted class;
    warnings: the slide's own, members that predict another class, more or fewer tiles than any slide in training."""
    predicted, tiles = int(prediction.probabilities.argmax()), len(prediction.attention)
    of_members = [float(member.probabilities[predicted]) for member in members]
    warnings = [record.warnings] if record.warnings else []
    least, most = training_tiles.least, training_tiles.most
    if others := sum(member.probabilities.argmax() != predicted for member in members):
        warnings.append(f"{others} of {len(members)} members predict another class")
    if not least <= tiles <= most:
        warnings.append(f"{tiles:,} tiles, the training slides had {least:,.0f} to {most:,.0f}")
    return {
        "predicted": classes[predicted],
        **dict(zip(probability_columns(classes), prediction.probabilities.tolist(), strict=True)),
        "disagreement": max(of_members) - min(of_members),
        "tiles": tiles,
        "warnings": "; ".join(warnings),
    }


def write_prediction_table(path: Path, rows: Sequence[Row]) -> None:
    """Write the rows after those of other slides that the same model predicted before."""
    current = {row["slide_id"] for row in rows}
    earlier = [row for row in _read_rows(path) if row["slide_id"] not in current]
    kept = [row for row in earlier if row.keys() == rows[0].keys() and row["model"] == rows[0]["model"]]
    write_rows(path, [*kept, *rows])


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


def describe_predictions(rows: Sequence[Row], out: Path) -> str:
    """One line per slide, then where the results are."""
    lines = []
    for row in rows:
        text = f"{row['status']}: {row['message']}"
        if row["status"] == Status.OK:
            text = f"{row['predicted']} ({row[PROBABILITY_PREFIX + row['predicted']]:.3f})"
        warnings = f"; {row['warnings']}" if row["warnings"] else ""
        lines.append(f"{row['slide_id']}: {text}{warnings}")
    drawn = sum(row["heatmap"] is not None for row in rows)
    lines.append(f"{out / 'predictions.csv'}" + (f", {drawn} heat maps in {out / 'heatmaps'}" if drawn else ""))
    return "\n".join(lines)
