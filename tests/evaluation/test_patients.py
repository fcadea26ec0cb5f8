"""Results by patient of models that predict slides, held against pandas and scikit-learn."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from roformermil.bags.folds import FoldRow, rows_fingerprint, write_folds
from roformermil.evaluation.fold_results import FoldResult
from roformermil.evaluation.patients import by_patient, mixed_patients, patient_predictions, patients_table
from roformermil.evaluation.predictions import read_table
from roformermil.evaluation.tables import write_tables
from tests.factories import SimulatedRun, write_training_files


def as_table(model, probabilities):
    table = pd.DataFrame({"fold": model.folds, "seed": model.seeds, "patient": model.patients, "label": model.targets})
    return table.assign(score=probabilities)


def test_a_patients_prediction_is_the_mean_of_those_of_their_slides_in_each_training(simulate):
    model = simulate(3, patients=30, folds=3, seeds=2, shuffled=True)
    patients = by_patient(model)
    assert patients.unit == "patient" and (patients.slides == patients.patients).all()
    pairs = [(model.predictions, patients.predictions), *zip(model.shuffled, patients.shuffled, strict=True)]
    for of_slides, of_patients in pairs:
        expected = as_table(model, of_slides[:, 1]).groupby(["fold", "seed", "patient"]).score.mean()
        key = pd.MultiIndex.from_arrays([patients.folds, patients.seeds, patients.patients])
        assert len(key) == len(expected) and key.is_unique
        assert of_patients[:, 1] == pytest.approx(expected.loc[key].to_numpy())
    assert by_patient(patients) is None, "patients are the unit already"


def test_metrics_by_patient_are_scikit_learns_of_mean_predictions_mean_over_folds_with_intervals(simulate):
    model = simulate(4, patients=40, folds=4)
    table = patients_table([model]).set_index("metric")
    means = as_table(model, model.predictions[:, 1]).groupby(["fold", "patient"]).mean()
    for name, metric in (("auroc", roc_auc_score), ("average_precision", average_precision_score)):
        expected = np.mean([metric(fold.label.astype(int), fold.score) for _, fold in means.groupby("fold")])
        assert table.loc[name, "mean"] == pytest.approx(expected)
        assert table.loc[name, "ci_low"] < expected < table.loc[name, "ci_high"]
    assert set(table.level) == {"patient"}
    assert table.loc["pooled_auroc", "mean"] == pytest.approx(roc_auc_score(means.label.astype(int), means.score))


def test_predictions_by_patient_are_listed_with_the_number_of_slides(simulate):
    model = simulate(5, patients=20, folds=2, seeds=2)
    rows = patient_predictions([model])
    tested = as_table(model, model.predictions[:, 1]).groupby(["fold", "seed", "patient"]).score.agg(["mean", "size"])
    positive = rows[rows["class"] == "class_1"].set_index(["fold", "seed", "patient_id"])
    assert len(rows) == 2 * len(tested) == 2 * len(positive)
    assert (positive.slides == tested["size"].loc[positive.index]).all()
    assert positive.probability.to_numpy() == pytest.approx(tested["mean"].loc[positive.index].to_numpy())


def test_patients_with_slides_of_several_labels_are_left_out_and_none_without_several_slides(simulate):
    model = simulate(6, patients=20, folds=2)
    name, counts = np.unique(model.patients, return_counts=True)
    mixed = name[counts > 1][0]
    model.targets[np.flatnonzero(model.patients == mixed)[0]] ^= 1
    assert mixed_patients(model) == [mixed]
    assert mixed not in by_patient(model).patients and len(by_patient(model).patients) == 19
    once = model.without_repeats()
    single = once.select(np.unique(once.patients, return_index=True)[1])
    assert by_patient(single) is None and patients_table([single]).empty and patient_predictions([single]).empty


def write_run(folder, patient_of):
    """The tables of a model of 48 slides, slide k of the patient that `patient_of(k)` names."""
    run, classes = SimulatedRun(folder), ["a", "b"]
    folds = run.add_dataset("set", classes, slides=48, folds=3)
    folds["patient_id"] = [patient_of(int(slide[1:])) for slide in folds.slide_id]
    run.add_model("set", folds, classes, strength=1.0, shuffled_strength=0.0)
    rows = [FoldRow(**row) for row in folds.to_dict("records")]
    write_folds(run.datasets[0] / "folds.csv", rows)
    for path in run.predictions:
        fold = [row for row in rows if row.fold == FoldResult.at(path).fold]
        write_training_files(path, rows=rows_fingerprint(fold))
    write_tables(run.predictions, run.datasets, folder)
    return folder


def test_tables_say_their_level_and_gain_results_by_patient_only_where_patients_have_several_slides(tmp_path):
    # slides of one class and fold follow each other at a distance of 6: k and k + 6 for k modulo 12 below 6
    pairs = write_run(tmp_path / "pairs", lambda k: f"p{k // 12}_{k % 6}")
    single = write_run(tmp_path / "single", lambda k: f"p{k}")
    for folder, rows in ((pairs, 6), (single, 0)):
        assert set(read_table(folder / "summary.csv").level) == {"slide"}
        assert len(read_table(folder / "patients.csv")) == rows
        assert ("By patient" in (folder / "summary.md").read_text()) == bool(rows)
    assert len(read_table(pairs / "patient_predictions.csv")) == 2 * 24
    assert np.isfinite(read_table(pairs / "patients.csv").set_index("metric").loc["auroc", "shuffled"])


def test_folds_that_divide_a_patients_slides_have_no_results_by_patient(simulate):
    model = simulate(5, patients=20, folds=2)
    several = next(name for name in model.patients if (model.patients == name).sum() > 1)
    first = np.flatnonzero(model.patients == several)[0]
    folds = model.folds.copy()
    folds[first] = 1 - folds[first]
    assert by_patient(model) is not None and by_patient(replace(model, folds=folds)) is None
