"""What `predict` prints at its end."""

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from roformermil.cohort.slide_messages import NUMBER
from roformermil.cohort.slide_table import shorten_warnings
from roformermil.deployment.patients import PATIENTS_TABLE
from roformermil.deployment.prediction_table import SHUFFLED, Row
from roformermil.errors import Status
from roformermil.evaluation.shift import describe_shift
from roformermil.runtime.text import aligned_table, first_lines, plural
from roformermil.tasks.classification import PROBABILITY_PREFIX

MOST_ROWS = 40  # that are printed
RIGHT = ("probability", "spread", "tiles")


def describe_predictions(
    rows: Sequence[Row], out: Path, compared_with: int, evaluation: str = "", column: str = ""
) -> str:
    """The table of predictions (of many slides those that the ensemble's members agree on least), warnings, the slides without
    a prediction and why, the metrics (`evaluation`), how many slides each class has, and where the results are.

    compared_with: the number of training patients in the package's reference; column: the main one of predictions of a task
    without classes."""
    good, lost = _by_success(rows)
    parts = [_table(good, column)] if good else []
    if warnings := _warnings(good):
        parts.append(f"Warnings (predictions.csv has what to do):\n{first_lines(warnings, MOST_ROWS)}")
    if lost:
        lines = [f"{row['slide_id']}: {row['status']}: {row['message']}" for row in lost]
        parts.append(f"{plural(len(lost), 'slide')} without a prediction:\n{first_lines(lines, MOST_ROWS)}")
    parts += [evaluation] if evaluation else []
    parts.append(
        "\n".join([_count_classes(good, rows), *_shift(good, compared_with), *_shuffling(good), *_places(good, out)])
    )
    return "\n\n".join(parts)


def _by_success(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    good = [row for row in rows if row["status"] == Status.OK]
    return good, [row for row in rows if row["status"] != Status.OK]


def _table(rows: Sequence[Row], column: str) -> str:
    if len(rows) <= MOST_ROWS:
        return _rows_table(rows, column)
    chosen = sorted(rows, key=lambda row: -row["disagreement"])[:MOST_ROWS]
    more = (
        f"The {MOST_ROWS} of {len(rows)} slides on which the ensemble's members differ most; predictions.csv has all."
    )
    return f"{_rows_table(chosen, column)}\n{more}"


def _rows_table(rows: Sequence[Row], column: str) -> str:
    """A line per slide. Columns that would be empty are left out."""
    columns = {
        "slide": [row["slide_id"] for row in rows],
        "predicted": [row.get("predicted") or "" for row in rows],
        "decision": [row.get("decision") or "" for row in rows],
        column or "probability": [f"{row[column]:.4g}" if column else _probability(row) for row in rows],
        "group": [row.get("group") or "" for row in rows],
        "spread": [f"{row['disagreement']:.3f}" for row in rows],
        "tiles": [f"{row['tiles']:,}" for row in rows],
    }
    if any(SHUFFLED + (column or "predicted") in row for row in rows):
        columns["positions shuffled"] = [
            f"{row[SHUFFLED + column]:.4g}" if column else _shuffled_text(row) for row in rows
        ]
    columns = {name: cells for name, cells in columns.items() if any(cells)}
    return aligned_table(list(columns), zip(*columns.values(), strict=True), (*RIGHT, column))


def _warnings(rows: Sequence[Row]) -> list[str]:
    """A short line for each warning of a slide, those that differ only in numbers one below the other."""
    pairs = [
        (row["slide_id"], short)
        for row in rows
        for short in filter(None, shorten_warnings(row["warnings"]).split("; "))
    ]
    kinds = list(dict.fromkeys(NUMBER.sub("", warning) for _, warning in pairs))
    ordered = sorted(pairs, key=lambda pair: kinds.index(NUMBER.sub("", pair[1])))
    return [f"{slide_id}: {warning}" for slide_id, warning in ordered]


def _probability(row: Row, prefix: str = "") -> str:
    """The probability of the predicted class, of the columns with this prefix."""
    return f"{row[prefix + PROBABILITY_PREFIX + row[f'{prefix}predicted']]:.3f}"


def _shuffled_text(row: Row) -> str:
    return f"{row[SHUFFLED + 'predicted']} {_probability(row, SHUFFLED)}"


def _count_classes(good: Sequence[Row], rows: Sequence[Row]) -> str:
    classes = ", ".join(f"{count} {name}" for name, count in Counter(_group(row) for row in good).most_common() if name)
    return f"{len(good)} of {plural(len(rows), 'slide')} predicted" + (f": {classes}" if classes else "")


def _group(row: Row) -> str:
    """The predicted class or risk group; "" where there is neither."""
    return row.get("predicted") or (f"at {row['group']} risk" if row.get("group") else "")


def _shift(good: Sequence[Row], compared_with: int) -> list[str]:
    """Whether the slides look like the training slides, of several slides."""
    farther = np.array([np.nan if row.get("farther") is None else row["farther"] for row in good])
    if len(good) < 2 or np.isnan(farther).all():
        return []
    patients = [row.get("patient_id") or row["slide_id"] for row in good]
    sentence = describe_shift(farther, patients, compared_with)
    return [f"{sentence[0].upper()}{sentence[1:]}."]


def _shuffling(good: Sequence[Row]) -> list[str]:
    if not (shuffled := [row for row in good if SHUFFLED + "predicted" in row]):
        return []
    changed = sum(row["predicted"] != row[SHUFFLED + "predicted"] for row in shuffled)
    return [f"Shuffling tile positions changes the predicted class of {changed} of {plural(len(shuffled), 'slide')}."]


def _places(good: Sequence[Row], out: Path) -> list[str]:
    """Where the results are, and how to look at them."""
    lines = [f"Table: {(out / 'predictions.csv').absolute()}"]
    if (out / PATIENTS_TABLE).is_file():
        lines.append(f"By patient: {(out / PATIENTS_TABLE).absolute()}")
    maps, tiles = (sum(row[column] is not None for row in good) for column in ("heatmap", "geojson"))
    kinds = [
        *([plural(maps, "heat map")] if maps else []),
        *([f"tiles for QuPath (.geojson): {tiles}"] if tiles else []),
    ]
    if kinds:
        lines.append(f"{(out / 'heatmaps').absolute()}: {', '.join(kinds)}")
    if any(Path(row["path"]).is_file() for row in good):
        lines.append(f"Look closer: roformermil view {shlex.quote(str(out))}")
    return lines
