"""Results by patient where slides are predicted: a patient's prediction is the mean of those of their slides."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from roformermil.evaluation.predictions import KEYS, OutOfFold
from roformermil.evaluation.summary import POSITION, STATISTICS, metrics_of, summary_table

PREDICTION_IDS = [*KEYS, "fold", "seed", "patient_id", "label", "slides"]
PREDICTION_COLUMNS = [*PREDICTION_IDS, "class", "probability"]


def by_patient(model: OutOfFold) -> OutOfFold | None:
    """The mean prediction for the tested slides of each patient, by training; None where no patient has several of them, where
    patients are the unit already, and where folds divide a patient's slides. Patients whose slides have several labels are
    left out."""
    tests = pd.DataFrame({"patient": model.patients, "repeat": model.repeats, "fold": model.folds}).drop_duplicates()
    divided = not model.trained_on and tests.duplicated(["patient", "repeat"]).any()  # all folds test external slides
    if model.unit == "patient" or divided:
        return None
    slides = model.select(~np.isin(model.patients, mixed_patients(model)))
    group, firsts = _group_by_patient(slides)
    if len(firsts) == len(group):
        return None
    patients = slides.select(firsts)
    return replace(
        patients,
        slides=patients.patients,
        predictions=_means(slides.predictions, group),
        shuffled=None if slides.shuffled is None else np.stack([_means(one, group) for one in slides.shuffled]),
        unit="patient",
    )


def mixed_patients(model: OutOfFold) -> list[str]:
    """The patients whose slides have several labels."""
    targets = pd.DataFrame(model.targets.reshape(len(model.targets), -1)).groupby(model.patients).nunique().max(axis=1)
    return targets.index[targets > 1].tolist()


def patients_table(models: Sequence[OutOfFold]) -> pd.DataFrame:
    """The rows of patients.csv: those of summary.csv by patient, for models whose patients have several slides."""
    if not (patients := [one for one in map(by_patient, models) if one]):
        return pd.DataFrame(columns=[*KEYS, "metric", *STATISTICS, *POSITION, "level"])
    metrics = pd.concat([metrics_of(one) for one in patients])
    return summary_table(metrics, patients).assign(level="patient")


def patient_predictions(models: Sequence[OutOfFold]) -> pd.DataFrame:
    """The predictions behind patients.csv, a row per class of each patient: PREDICTION_COLUMNS. slides: how many were averaged. Of a
    task that predicts no class, a row per patient with its predictions instead of class and probability."""
    tables = []
    for model in models:
        if not (patients := by_patient(model)):
            continue
        tested = pd.Series(1, index=[model.folds, model.seeds, model.patients]).groupby(level=[0, 1, 2]).sum()
        key = pd.MultiIndex.from_arrays([patients.folds, patients.seeds, patients.patients])
        rows = pd.DataFrame(dict(zip(KEYS, model.key, strict=True)), index=range(len(key)))
        rows = rows.assign(fold=patients.folds, seed=patients.seeds, patient_id=patients.patients)
        rows = rows.assign(label=model.task.labels(patients.targets), slides=tested.loc[key].to_numpy())
        values = dict(zip(model.task.columns, patients.predictions.T, strict=True))
        of_classes = zip(model.classes, values.values(), strict=False)  # none without classes
        tables += [rows.assign(**{"class": name, "probability": one}) for name, one in of_classes]
        tables += [] if model.classes else [rows.assign(**values)]
    if not tables:
        return pd.DataFrame(columns=PREDICTION_COLUMNS)
    joined = pd.concat(tables, ignore_index=True)
    return joined[[*PREDICTION_IDS, *joined.columns.drop(PREDICTION_IDS)]]


def _group_by_patient(model: OutOfFold) -> tuple[np.ndarray, np.ndarray]:
    """For each of the n predictions the number of its patient in its training, and the index of the first of each."""
    keys = pd.DataFrame({"fold": model.folds, "seed": model.seeds, "patient": model.patients})
    group = keys.groupby(list(keys), sort=False).ngroup().to_numpy()
    return group, np.unique(group, return_index=True)[1]


def _means(predictions: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Means of the rows (n, P) of each group, numbered from 0."""
    return pd.DataFrame(predictions).groupby(group).mean().to_numpy()
