"""Kaplan-Meier curves, the log-rank test, and risk groups.

The patients are those of Freireich et al. (Blood 21, 1963) as in every textbook: weeks until relapse of leukaemia with
6-mercaptopurine and with placebo, 21 each. Expected values were computed by lifelines 0.30.3 (KaplanMeierFitter, logrank_test) and
are the same with scikit-survival 0.28.0 (kaplan_meier_estimator with conf_type="log-log", compare_survival)."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from roformermil.evaluation.kaplan_meier import (
    GROUP_COLUMNS,
    group_curves,
    kaplan_meier,
    log_rank,
    median_time,
    risk_groups,
    survival_tables,
)
from roformermil.evaluation.predictions import KEYS, OutOfFold
from roformermil.tasks.survival import Survival
from tests.factories import draw_predictions, survival_labels

TREATED = [
    "6",
    "6",
    "6",
    "6+",
    "7",
    "9+",
    "10",
    "10+",
    "11+",
    "13",
    "16",
    "17+",
    "19+",
    "20+",
    "22",
    "23",
    "25+",
    "32+",
    "32+",
    "34+",
    "35+",
]
PLACEBO = [
    "1",
    "1",
    "2",
    "2",
    "3",
    "4",
    "4",
    "5",
    "5",
    "8",
    "8",
    "8",
    "8",
    "11",
    "11",
    "12",
    "12",
    "15",
    "17",
    "22",
    "23",
]
TASK = Survival().fit([*TREATED, *PLACEBO])
CURVE = {  # of the treated: survival, 95% interval
    0: (1, 1, 1),
    6: (0.857143, 0.619718, 0.951552),
    7: (0.806723, 0.563147, 0.922809),
    9: (0.806723, 0.563147, 0.922809),
    10: (0.752941, 0.503200, 0.889362),
    13: (0.690196, 0.431610, 0.849066),
    16: (0.627451, 0.367511, 0.804912),
    22: (0.537815, 0.267779, 0.746791),
    23: (0.448179, 0.188052, 0.680143),
    35: (0.448179, 0.188052, 0.680143),
}


def times_and_events(labels):
    targets = TASK.targets(labels)
    return targets[:, 0], targets[:, 1] > 0


def test_the_curve_and_its_interval_are_those_of_two_libraries():
    curve = kaplan_meier(*times_and_events(TREATED)).set_index("time")
    for time, values in CURVE.items():
        assert curve.loc[time, ["survival", "ci_low", "ci_high"]].tolist() == pytest.approx(values, abs=1e-6)
    counts = curve.loc[[0, 6, 7, 11, 32, 35], ["at_risk", "events", "censored"]].values.tolist()
    assert counts == [[21, 0, 0], [21, 3, 1], [17, 1, 0], [13, 0, 1], [4, 0, 2], [1, 0, 1]]


def test_the_median_is_where_half_are_left_and_may_not_be_reached():
    treated, placebo = (kaplan_meier(*times_and_events(labels)) for labels in (TREATED, PLACEBO))
    columns = ("survival", "ci_low", "ci_high")
    assert [median_time(placebo, column) for column in columns] == [8, 4, 11]
    assert [median_time(treated, column) for column in columns] == pytest.approx([23, 13, np.nan], nan_ok=True)


def test_the_log_rank_test_is_that_of_two_libraries():
    is_high = np.repeat([False, True], 21)
    assert log_rank(*times_and_events([*TREATED, *PLACEBO]), is_high) == pytest.approx(
        (16.792941, 4.1688e-05), rel=1e-4
    )


def test_groups_without_patients_or_events_are_not_tested():
    times, events = times_and_events(TREATED)
    assert np.isnan(log_rank(times, events, np.ones(21, bool))).all()
    assert np.isnan(log_rank(times, np.zeros(21, bool), np.arange(21) > 5)).all()
    assert (kaplan_meier(times, np.zeros(21, bool)).survival == 1).all()


def predict(count, folds, seed=0, prefix="p", slides_each=1, seeds=1) -> OutOfFold:
    """Predictions of as many patients, of whom each fold has its share."""
    labels = np.repeat(survival_labels(count, seed), slides_each).tolist() * seeds
    rng, rows = np.random.default_rng(seed), count * slides_each
    patients = np.array([f"{prefix}{k}" for k in np.repeat(np.arange(count), slides_each)])
    slides = np.array([f"{prefix}s{k}" for k in range(rows)])
    fold = np.repeat(np.arange(count) % folds, slides_each)
    values = draw_predictions(TASK, labels, 1.0, rng)
    tiled = (np.tile(one, seeds) for one in (slides, patients, fold))
    return OutOfFold("set", "net", "m", TASK, *tiled, TASK.targets(labels), values, np.repeat(np.arange(seeds), rows))


def test_groups_are_cut_at_the_median_risk_of_each_folds_validation_patients():
    model, validation = predict(60, 3), predict(30, 3, seed=1, prefix="v", slides_each=2)
    patients, cuts = risk_groups(model, validation)
    frame = pd.DataFrame(
        {"fold": validation.folds, "patient": validation.patients, "risk": validation.predictions[:, 0]}
    )
    medians = frame.groupby(["fold", "patient"]).risk.mean().groupby("fold").median()
    assert cuts == pytest.approx(medians.loc[patients.folds].to_numpy())
    other = replace(model, predictions=1 - model.predictions, targets=np.flip(model.targets, axis=0))
    assert (risk_groups(other, validation)[1] == cuts).all(), "test patients do not decide"


def test_each_patient_counts_once_with_the_mean_risk_of_their_slides():
    model, validation = predict(30, 3, slides_each=2, seeds=2), predict(30, 3, seed=1, prefix="v", seeds=2)
    patients, _ = risk_groups(model, validation)
    first = model.select(model.seeds == 0)
    means = pd.Series(first.predictions[:, 0]).groupby(first.patients).mean()
    assert sorted(patients.patients) == sorted(set(model.patients))
    assert patients.predictions[:, 0] == pytest.approx(means.loc[patients.patients].to_numpy())


def test_external_patients_are_divided_at_the_mean_of_the_members_cuts():
    validation = predict(30, 3, seed=1, prefix="v")
    external = replace(predict(20, 1), trained_on="other")
    _, cuts = risk_groups(external, validation)
    medians = [np.median(validation.predictions[validation.folds == fold, 0]) for fold in range(3)]
    assert cuts == pytest.approx(np.full(20, np.mean(medians)))


def test_the_tables_join_the_folds_and_name_their_cuts():
    model, validation = predict(60, 3), predict(30, 3, seed=1, prefix="v")
    tables = survival_tables([model], [validation])
    groups, curves = tables["survival_groups"], tables["survival_curves"]
    assert list(groups) == [*KEYS, *GROUP_COLUMNS]
    joined, by_fold = groups[groups.fold.isna()], groups[groups.fold.notna()]
    assert by_fold.groupby("group")[["patients", "events"]].sum().loc[["low", "high"]].values.tolist() == (
        joined[["patients", "events"]].values.tolist()
    )
    assert joined.patients.sum() == 60 and joined.events.sum() == (model.targets[:, 1] == 1).sum()
    patients, cuts = risk_groups(model, validation)
    chi2, p = log_rank(patients.targets[:, 0], patients.targets[:, 1] > 0, patients.predictions[:, 0] > cuts)
    assert joined.logrank_chi2.tolist() == [chi2] * 2 and joined.p.tolist() == [p] * 2 and by_fold.p.isna().all()
    assert curves.groupby("group").at_risk.max().loc[["low", "high"]].tolist() == joined.patients.tolist()


def test_a_group_without_patients_has_no_curve():
    model, validation = predict(12, 1), predict(12, 1, prefix="v")
    low = replace(model, predictions=np.zeros_like(model.predictions))
    curves = group_curves(*risk_groups(low, validation))
    assert len(curves["low"]) and curves["high"].empty
    groups = survival_tables([low], [validation])["survival_groups"]
    assert groups[groups.fold.isna()].patients.tolist() == [12, 0]


def test_models_that_predict_classes_have_no_such_tables(simulate):
    assert survival_tables([simulate(0)], [simulate(1)]) == {}
