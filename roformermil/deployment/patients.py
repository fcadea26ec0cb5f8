"""The table `patients.csv` of `predict`: one row per patient, where a slide sheet names several slides of one."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from roformermil.deployment.operating_point import PackagedDecisions
from roformermil.errors import Status
from roformermil.runtime.files import remove
from roformermil.runtime.records import write_rows
from roformermil.tasks import Task, as_task

PATIENTS_TABLE = "patients.csv"


def write_patients(
    folder: Path,
    rows: Sequence[Mapping[str, Any]],
    task: Task | Sequence[str],
    cut: float | None = None,
    decisions: PackagedDecisions | None = None,
) -> None:
    """Write the predictions of patients into `folder`, from the rows of predictions.csv; remove the table where none has several
    slides.

    task: or the classes of a classification; cut: the risk that divides low from high; decisions: at which operating point a class is
    called. A patient's predictions are means over those of
    their slides, which are equal where the model's bags are patients.
    """
    task = as_task(task)
    columns, patients = task.columns, defaultdict(list)
    for row in rows:
        if row.get("patient_id"):
            patients[row["patient_id"]].append(row)
    if all(len(of_patient) == 1 for of_patient in patients.values()):
        remove(folder / PATIENTS_TABLE)
        return
    table = []
    for patient, of_patient in patients.items():
        usable = [row for row in of_patient if row["status"] == Status.OK]
        means = np.array([[float(row[name]) for name in columns] for row in usable]).mean(axis=0) if usable else None
        table.append(
            {
                "patient_id": patient,
                **({"predicted": None if means is None else task.classes[int(means.argmax())]} if task.classes else {}),
                **dict(zip(columns, [None] * len(columns) if means is None else means.tolist(), strict=True)),
                **({} if cut is None else {"group": None if means is None else "high" if means[0] > cut else "low"}),
                **({"decision": None if means is None else decisions.decide(means, task.classes)} if decisions else {}),
                "slides": len(usable),
                "lost": len(of_patient) - len(usable),
                "model": of_patient[0]["model"],
            }
        )
    write_rows(folder / PATIENTS_TABLE, table)
