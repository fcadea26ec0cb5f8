"""Tests of models against each other, checked with published worked examples and another package's numbers."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm, ttest_rel
from sklearn.datasets import make_moons
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
from sklearn.svm import SVC

from roformermil.evaluation.comparisons import (
    clustered_auroc,
    compare_models,
    corrected_t,
    delong,
    holm_correction,
    jackknife_t,
)
from roformermil.evaluation.predictions import OutOfFold
from roformermil.tasks import Classification
from roformermil.tasks.regression import Regression


def test_the_corrected_t_test_is_that_of_scikit_learns_example():
    """scikit-learn's "Statistical comparison of models using grid search": t = 0.750, one-sided p = 0.227."""
    x, y = make_moons(noise=0.352, random_state=1, n_samples=100)
    folds = RepeatedStratifiedKFold(n_splits=10, n_repeats=10, random_state=0)
    models = (SVC(kernel=kernel, random_state=0) for kernel in ("rbf", "linear"))
    first, second = (cross_val_score(model, x, y, cv=folds, scoring="roc_auc") for model in models)
    result = corrected_t(first - second, 10 / 90)
    assert (round(result.statistic, 3), round(result.p / 2, 3), result.folds) == (0.75, 0.227, 100)
    assert result.ci_low < 0 < result.ci_high


def test_the_paired_jackknife_of_a_mean_is_students_paired_t_test():
    """One slide per patient: the mean absolute error is a mean over patients."""
    rng, n = np.random.default_rng(0), 25
    truth, slides, once = rng.normal(20, 5, n), np.array([f"s{k}" for k in range(n)]), np.zeros(n, int)
    predictions = [truth + rng.normal(0, error, n) for error in (1, 2)]
    models = [
        OutOfFold("set", "net", name, Regression(), slides, slides, once, truth, values[:, None], once)
        for name, values in zip("ab", predictions, strict=True)
    ]
    found = jackknife_t(*models, "mae")
    expected = ttest_rel(*(np.abs(values - truth) for values in predictions))
    interval = expected.confidence_interval()
    assert (found.statistic, found.p) == pytest.approx((expected.statistic, expected.pvalue))
    assert (found.ci_low, found.ci_high) == pytest.approx((interval.low, interval.high))


def two_scores() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    truth = np.array([0] * 40 + [1] * 25)
    first = rng.normal(truth * 1.0, 1).round(1)
    return truth, first, (0.5 * first + rng.normal(truth * 0.5, 1)).round(1)


def predictions_from(truth, scores, patients=None, model="m", folds=None) -> OutOfFold:
    p = 1 / (1 + np.exp(-scores))
    slides = np.arange(len(truth))
    folds = np.zeros(len(truth), int) if folds is None else folds
    patients = slides if patients is None else patients
    probabilities, seeds = np.stack([1 - p, p], 1), np.ones(len(truth), int)
    return OutOfFold("d", "e", model, Classification(("a", "b")), slides, patients, folds, truth, probabilities, seeds)


def test_delongs_test_gives_what_mlstatkit_gives():
    """Delong_test of MLstatkit 0.1.92 on these scores: z = -1.6603408, p = 0.0968459, areas .8855 and .778."""
    truth, first, second = two_scores()
    result = delong(predictions_from(truth, first), predictions_from(truth, second))
    assert result.difference == pytest.approx(0.8855 - 0.778)
    assert (result.statistic, result.p) == pytest.approx((1.6603408233253192, 0.09684590756569335))
    assert result.ci_low < 0 < result.ci_high
    areas, covariance, _ = clustered_auroc(truth == 1, np.stack([first, second]), np.arange(65), 65)
    assert areas == pytest.approx([roc_auc_score(truth, first), roc_auc_score(truth, second)])
    width = norm.ppf(0.975) * covariance[0, 0] ** 0.5
    assert (areas[0] - width, areas[0] + width) == pytest.approx((0.8034972995279727, 0.9675027004720272))


def test_the_clustered_variance_is_that_of_repeated_samples():
    """Patients of four slides that share most of their error: variance over 2,000 samples against the mean estimate."""
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(2000):
        label, patient = np.repeat(rng.permutation(40) % 2, 4), np.repeat(np.arange(40), 4)
        score = label + np.repeat(rng.normal(0, 1, 40), 4) + rng.normal(0, 0.5, 160)
        area, covariance, _ = clustered_auroc(label == 1, score[None], patient, 40)
        _, slide_covariance, _ = clustered_auroc(label == 1, score[None], np.arange(160), 160)
        rows.append((area[0], covariance[0, 0], slide_covariance[0, 0]))
    areas, estimates, naive = np.transpose(rows)
    assert np.mean(estimates) == pytest.approx(np.var(areas), rel=0.1)
    assert np.mean(naive) < np.var(areas) / 2, "treating slides as patients underestimates it"


def test_patients_with_slides_of_both_classes_count_too():
    """The covariance between a patient's positives and negatives: against the jackknife over patients."""
    rng = np.random.default_rng(3)
    patient = np.repeat(np.arange(60), 4)
    truth = rng.integers(0, 2, 240) == 1
    score = truth + np.repeat(rng.normal(0, 1, 60), 4) + rng.normal(0, 0.7, 240)
    _, covariance, _ = clustered_auroc(truth, score[None], patient, 60)
    left_out = [roc_auc_score(truth[patient != k], score[patient != k]) for k in range(60)]
    jackknife = 59 / 60 * ((left_out - np.mean(left_out)) ** 2).sum()
    assert covariance[0, 0] == pytest.approx(jackknife, rel=0.03)


def test_equal_differences_and_single_patients_have_no_p_value():
    """Equality in all folds is no proof of equality: two perfect models on few slides are equal too."""
    truth, scores, _ = two_scores()
    same = predictions_from(truth, scores)
    assert delong(same, same).difference == 0 and np.isnan(delong(same, same).p)
    for equal in (np.zeros(5), np.full(5, 0.1), np.array([0.9 - 0.8, 0.8 - 0.7, 0.7 - 0.6])):  # up to round-off
        assert np.isnan(corrected_t(equal, 0.1).p)
    few = np.array([0, 1])
    assert np.isnan(delong(*(predictions_from(few, np.array(p)) for p in ([0.1, 0.9], [0.9, 0.1]))).p)
    with pytest.raises(ValueError, match="different slides"):
        delong(same, predictions_from(truth[:-1], scores[:-1]))


def with_seeds(*models: OutOfFold) -> OutOfFold:
    """Several predictions of the same slides as those of seeds 1, 2, ... of one model."""
    count, n = len(models), len(models[0].targets)
    rows = models[0].select(np.tile(np.arange(n), count))
    probabilities = np.concatenate([model.predictions for model in models])
    return replace(rows, seeds=np.repeat(np.arange(1, count + 1), n), predictions=probabilities)


def test_the_same_predictions_from_several_seeds_are_no_new_information():
    truth, first, second = two_scores()
    folds = np.arange(len(truth)) % 5
    models = [predictions_from(truth, scores, folds=folds) for scores in (first, second)]
    repeated = [with_seeds(model, model, model) for model in models]
    expected = delong(*models)
    assert delong(*repeated) == pytest.approx(expected)
    assert delong(repeated[0], models[1]) == pytest.approx(expected), "also against a model of one seed"


def test_the_variance_of_a_mean_over_seeds_is_that_of_the_jackknife_over_patients():
    """Of patients with two slides in two folds each, whose seeds share most of their error."""
    rng = np.random.default_rng(5)
    patient, folds = np.repeat(np.arange(80), 2), np.tile([0, 1], 80)
    truth = (rng.random(80) < 0.5).astype(int)[patient]
    shared = rng.normal(0, 1, 80)[patient]
    scores = [truth * effect + shared + rng.normal(0, 0.7, 160) for effect in (1, 1, 1, 0.7, 0.7)]
    models = [predictions_from(truth, one, patient, folds=folds) for one in scores]
    first, second = with_seeds(*models[:3]), with_seeds(*models[3:])

    def difference(first, second) -> float:
        areas = [
            np.mean([roc_auc_score(one.targets[tested], one.predictions[tested, 1]) for tested in one.tests])
            for one in (first, second)
        ]
        return areas[0] - areas[1]

    left_out = [difference(*(one.select(one.patients != k) for one in (first, second))) for k in range(80)]
    error = np.sqrt(79 / 80 * ((left_out - np.mean(left_out)) ** 2).sum())
    result = delong(first, second)
    assert result.difference == pytest.approx(difference(first, second)) and result.folds == 2
    assert result.difference / result.statistic == pytest.approx(error, rel=0.05)


def test_seeds_that_were_tested_on_different_slides_are_refused():
    truth, first, second = two_scores()
    model = with_seeds(predictions_from(truth, first), predictions_from(truth, second))
    with pytest.raises(ValueError, match="different slides"):
        delong(model, model.select(np.arange(len(model.targets) - 1)))


def test_the_t_test_takes_a_folds_mean_over_seeds():
    rng = np.random.default_rng(2)
    truth, first, second = two_scores()
    models = [with_seeds(*[predictions_from(truth, s, model=name)] * 2) for name, s in (("x", first), ("y", second))]
    values = rng.random((2, 5, 2))  # models, folds, seeds
    rows = [
        ("d", "e", name, fold, seed, metric, values[m, fold, seed])
        for metric in ("auroc", "average_precision")
        for m, name in enumerate("xy")
        for fold in range(5)
        for seed in range(2)
    ]
    metrics = pd.DataFrame(rows, columns=["dataset", "encoder", "model", "fold", "seed", "metric", "value"])
    table = compare_models(models, metrics, {"d": 0.2}).query("test == 'corrected_t' and metric == 'auroc'")
    expected = corrected_t(values[1].mean(axis=1) - values[0].mean(axis=1), 0.2)
    (row,) = table.itertuples()
    assert (row.difference, row.statistic, row.p, row.folds) == pytest.approx(
        (expected.difference, expected.statistic, expected.p, 5)
    )


def test_holms_correction_on_a_worked_example():
    """p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm") in R: 0.03 0.06 0.06 0.02."""
    assert holm_correction(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm_correction(np.array([np.nan, 0.04, 0.5])) == pytest.approx([np.nan, 0.08, 0.5], nan_ok=True)


def test_every_pair_is_compared_by_every_test():
    truth, first, second = two_scores()
    folds = np.arange(len(truth)) % 5
    scores = {"x": first, "y": second, "z": first + second}
    models = {name: predictions_from(truth, score, model=name, folds=folds) for name, score in scores.items()}
    rows = [
        ("d", "e", name, k, 1, metric, roc_auc_score(truth[folds == k], model.predictions[folds == k, 1]))
        for metric in ("auroc", "average_precision")
        for name, model in models.items()
        for k in range(5)
    ]
    metrics = pd.DataFrame(rows, columns=["dataset", "encoder", "model", "fold", "seed", "metric", "value"])
    table = compare_models(list(models.values()), metrics, {"d": 0.2})
    assert len(table) == 3 * 3  # pairs; corrected t of two metrics, DeLong of AUROC
    for (metric, test), rows in table.groupby(["metric", "test"]):
        assert rows.p_holm.tolist() == pytest.approx(holm_correction(rows.p.to_numpy())), "of this family alone"
        for row in rows.itertuples():
            values = metrics[metrics.metric == metric].pivot(index="fold", columns="model", values="value")
            differences = (values[row.model] - values[row.against]).to_numpy()
            pair = models[row.model], models[row.against]
            expected = delong(*pair) if test == "delong" else corrected_t(differences, 0.2)
            assert (row.difference, row.ci_low, row.ci_high, row.statistic, row.p, row.folds) == pytest.approx(expected)
            assert row.difference == pytest.approx(differences.mean())


def test_the_variance_over_folds_is_that_of_a_mean():
    """From DeLong's structural components of each fold, calculated independently: the sum over folds, over k squared."""
    truth, first, second = two_scores()
    folds = np.arange(len(truth)) % 3
    differences, variance = [], 0.0
    for k in range(3):
        positive, negative = (folds == k) & (truth == 1), (folds == k) & (truth == 0)
        wins = [((s[positive, None] > s[negative]) + (s[positive, None] == s[negative]) / 2) for s in (first, second)]
        wins = wins[0] - wins[1]
        differences.append(wins.mean())
        variance += wins.mean(axis=1).var(ddof=1) / positive.sum() + wins.mean(axis=0).var(ddof=1) / negative.sum()
    result = delong(*(predictions_from(truth, scores, folds=folds) for scores in (first, second)))
    assert result.difference == pytest.approx(np.mean(differences))
    assert result.statistic == pytest.approx(np.mean(differences) / (variance**0.5 / 3))


def test_patients_whom_several_folds_test_are_no_new_information():
    """Four slides per patient, divided by slide, some tested twice: 5% of the p values of equal models are below 0.05."""
    rng, p = np.random.default_rng(0), []
    for _ in range(400):
        patient = np.repeat(np.arange(80), 4)
        truth = (rng.random(80) < 0.5).astype(int)[patient]
        tested = np.concatenate([np.arange(320), rng.choice(320, 60, replace=False)])
        folds = np.append(rng.permutation(320) % 5, np.full(60, 5))
        models = []
        for model in "ab":
            score = (truth + rng.normal(0, 1, 80)[patient] + rng.normal(0, 0.5, 320))[tested]
            predictions = predictions_from(truth[tested], score, patient[tested], model, folds)
            models.append(replace(predictions, slides=tested))
        p.append(delong(*models).p)
    assert 0.02 < np.mean(np.array(p) < 0.05) < 0.085
