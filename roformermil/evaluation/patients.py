"""Results by patient where slides are predicted: a patient's prediction is the mean of those of their slides."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from roformermil.evaluation.predictions import KEYS, OutOfFold
from roformermil.evaluation.summary import POSITION, STATISTICS, metrics_of, summary_table

PREDICTION_COLUMNS = [*KEYS, "fold", "seed", "patient_id", "label", "slides", "class", "probability"]


def by_patient(model: OutOfFold) -> OutOfFold | None:
    """The mean prediction for the tested slides of each patient, by training; None where no patient has several of them, where
    patients are the unit already, and where folds divide a patient's slides. Patients whose slides have several labels are
    left out."""
    tests = pd.DataFrame({"patient": model.patients, "repeat": model.repeats, "fold": model.folds}).drop_duplicates()
    if model.unit == "patient" or tests.duplicated(["patient", "repeat"]).any():
        return None
    slides = model.select(~np.isin(model.patients, mixed_patients(model)))
    group, firsts = _group_by_patient(slides)
    if len(firsts) == len(group):
        return None
    patients = slides.select(firsts)
    return replace(
        patients,
        slides=patients.patients,
        probabilities=_means(slides.probabilities, group),
        shuffled=None if slides.shuffled is None else np.stack([_means(one, group) for one in slides.shuffled]),
        unit="patient",
    )


def mixed_patients(model: OutOfFold) -> list[str]:
    """The patients whose slides have several labels."""
    labels = pd.Series(model.labels, dtype=int).groupby(model.patients).nunique()
    return labels.index[labels > 1].tolist()


def patients_table(models: Sequence[OutOfFold]) -> pd.DataFrame:
    """The rows of patients.csv: those of summary.csv by patient, for models whose patients have several slides."""
    if not (patients := [one for one in map(by_patient, models) if one]):
        return pd.DataFrame(columns=[*KEYS, "metric", *STATISTICS, *POSITION, "level"])
    metrics = pd.concat([metrics_of(one) for one in patients])
    return summary_table(metrics, patients).assign(level="patient")


def patient_predictions(models: Sequence[OutOfFold]) -> pd.DataFrame:
    """The predictions behind patients.csv, a row per class of each patient: PREDICTION_COLUMNS. slides: how many were averaged."""
    tables = [pd.DataFrame(columns=PREDICTION_COLUMNS)]
    for model in models:
        if not (patients := by_patient(model)):
            continue
        tested = pd.Series(1, index=[model.folds, model.seeds, model.patients]).groupby(level=[0, 1, 2]).sum()
        key = pd.MultiIndex.from_arrays([patients.folds, patients.seeds, patients.patients])
        rows = pd.DataFrame(dict(zip(KEYS, model.key, strict=True)), index=range(len(key)))
        rows = rows.assign(fold=patients.folds, seed=patients.seeds, patient_id=patients.patients)
        rows = rows.assign(label=np.array(model.classes)[patients.labels], slides=tested.loc[key].to_numpy())
        of_classes = zip(model.classes, patients.probabilities.T, strict=True)
        tables += [rows.assign(**{"class": name, "probability": values}) for name, values in of_classes]
    return pd.concat(tables[1:] or tables, ignore_index=True)[PREDICTION_COLUMNS]


def _group_by_patient(model: OutOfFold) -> tuple[np.ndarray, np.ndarray]:
    """For each of the n predictions the number of its patient in its training, and the index of the first of each."""
    keys = pd.DataFrame({"fold": model.folds, "seed": model.seeds, "patient": model.patients})
    group = keys.groupby(list(keys), sort=False).ngroup().to_numpy()
    return group, np.unique(group, return_index=True)[1]


def _means(probabilities: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Means of the rows (n, C) of each group, numbered from 0."""
    return pd.DataFrame(probabilities).groupby(group).mean().to_numpy()
