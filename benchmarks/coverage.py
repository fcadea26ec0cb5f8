"""How often 95% intervals contain the truth, in 1,000 simulated data sets drawn from a population.

    python benchmarks/coverage.py                    # 6 minutes on a core
    python benchmarks/coverage.py --runs 200

Patients have one to three slides each, whose errors are partly shared; scores are those of a fixed model. The truth is what the
intervals are of: the metric in the tables, a mean over folds of this size, expected over all data sets. A cell contains the
coverage of the package's intervals (jackknife), that of the bootstrap they replaced, and in brackets the bias: the truth less
the metric of a population of 100,000 patients. A missing interval, as of a perfect score, contains nothing.

A second table is of external patients, who are tested together and of whom few are positive.
"""

import argparse
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import norm

from roformermil.evaluation.curves import percentile_band, resampling_weights
from roformermil.evaluation.intervals import (
    LEVEL,
    ROUND_OFF,
    Statistics,
    Values,
    jackknife_error,
    jackknife_interval,
    leave_patients_out,
    mean_over_folds,
    patient_intervals,
)
from roformermil.evaluation.predictions import OutOfFold
from roformermil.runtime.text import markdown_table
from roformermil.tasks import CLASSIFICATION, Classification
from roformermil.tasks.class_metrics import weighted_metrics

Intervals = Callable[[OutOfFold, Statistics, float], Values]


class Design(NamedTuple):
    patients: int
    folds: int
    positive: float  # fraction of patients of each class but the first
    effect: float  # distance between the classes, in standard deviations of the error
    classes: int = 2
    unit: str = "patient"  # folds separate patients, or only slides as in the paper's release


DESIGNS = (
    Design(50, 5, 0.5, 1.2),
    Design(200, 10, 0.5, 1.2),
    Design(200, 10, 0.2, 1.2),
    Design(200, 10, 0.5, 2.5),
    Design(500, 10, 0.5, 1.2),
    Design(200, 10, 1 / 3, 1.2, classes=3),
    Design(200, 10, 0.5, 1.2, unit="slide"),
    Design(200, 10, 1 / 3, 1.2, classes=3, unit="slide"),
    Design(20, 10, 0.5, 1.2),  # in this one and the next, a fold tests one patient of a class
    Design(100, 10, 0.1, 1.2),
)
FEW_POSITIVES = (1, 2, 3, 5, 8, 12, 20, 50)  # external patients


def simulate(rng: np.random.Generator, name: str, design: Design) -> OutOfFold:
    """Out-of-fold predictions of new patients, divided by label as `make_folds` does."""
    label = (rng.random(design.patients) / design.positive).astype(int)  # 0, 1, ... as often as `positive` says
    label = np.where(label < design.classes - 1, label + 1, 0)
    patients = np.repeat(np.arange(design.patients), rng.integers(1, 4, design.patients))
    units = label if design.unit == "patient" else label[patients]
    folds = np.empty(len(units), int)
    folds[np.argsort(units + rng.random(len(units)) / 2)] = np.arange(len(units)) % design.folds
    folds = folds[patients] if design.unit == "patient" else folds
    error = rng.normal(0, 0.7, (design.patients, design.classes - 1))[patients]
    error += rng.normal(0, 0.7, (len(patients), design.classes - 1))
    logits = 2 * (design.effect * ((label[patients, None] == np.arange(1, design.classes)) - 0.5) + error)
    scores = np.exp(np.concatenate([np.zeros((len(patients), 1)), logits], axis=1))
    probabilities = scores / scores.sum(axis=1, keepdims=True)
    classes = list("abc"[: design.classes])
    slides, seeds = np.arange(len(patients)), np.ones(len(patients), int)
    return OutOfFold(
        name, "-", "-", Classification(tuple(classes)), slides, patients, folds, label[patients], probabilities, seeds
    )


def simulate_external(rng: np.random.Generator, positives: int, negatives: int = 50) -> OutOfFold:
    """Predictions of external patients, one slide each, whose scores lie a standard deviation apart."""
    labels = np.repeat([0, 1], [negatives, positives])
    ids, once = np.arange(len(labels)), np.zeros(len(labels), int)
    positive = 1 / (1 + np.exp(-rng.normal(labels)))
    probabilities = np.stack([1 - positive, positive], axis=1)
    task = Classification(("a", "b"))
    return OutOfFold("-", "-", "-", task, ids, ids, once, labels, probabilities, once, trained_on="-")


def external_coverage(positives: int, runs: int) -> list[float]:
    """The share of `runs` intervals of the AUROC of external patients that contain the truth: with the degrees of freedom of the
    package, and with those of all patients."""
    rng, truth, contained = np.random.default_rng(0), norm.cdf(1 / np.sqrt(2)), []
    for _ in range(runs):
        model = simulate_external(rng, positives)
        left_out = leave_patients_out(model, weighted_metrics)["auroc"]
        of_all = jackknife_interval(left_out, len(model.targets) - 1)
        bounds = patient_intervals(model, weighted_metrics)["auroc"], of_all
        contained.append([low <= truth <= high for low, high in bounds])
    return np.mean(contained, axis=0).tolist()


def bootstrap_intervals(predictions: OutOfFold, statistics: Statistics, level: float, replicates: int = 500) -> Values:
    """The former intervals: quantiles of replicates, moved to the metric and scaled to its jackknife error."""
    left_out = leave_patients_out(predictions, statistics)
    drawn = mean_over_folds(predictions, statistics, resampling_weights(predictions, replicates))
    intervals = {}
    for name, values in drawn.items():
        offsets = percentile_band(values, ((1 - level) / 2, (1 + level) / 2)) - np.nanmean(values)
        spread, error = float(np.nanstd(values)), float(jackknife_error(left_out[name]))
        scale = error / spread if min(spread, error) > ROUND_OFF else np.nan
        intervals[name] = np.clip(left_out[name][0] + offsets * scale, 0, 1)
    return intervals


def coverage(
    design: Design, runs: int, methods: Sequence[Intervals] = (patient_intervals,), level: float = LEVEL
) -> dict[str, tuple[list[float], float]]:
    """By metric: the share of `runs` intervals of each method that contain the truth, and the bias of the tables."""
    rng = np.random.default_rng(0)
    population = simulate(rng, "population", design._replace(patients=100_000, folds=1))
    in_population = CLASSIFICATION.compute_metrics(population.targets, population.predictions)
    means, bounds = [], []
    for run in range(runs):
        predictions = simulate(rng, f"{design}, {run}", design)
        means.append(mean_over_folds(predictions, weighted_metrics))
        bounds.append([method(predictions, weighted_metrics, level) for method in methods])
    result = {}
    for name in CLASSIFICATION.metrics:
        truth = np.mean([mean[name][0] for mean in means])
        low, high = np.array([[method[name] for method in run] for run in bounds]).transpose(
            2, 1, 0
        )  # (methods, runs) each
        result[name] = (((low <= truth) & (truth <= high)).mean(axis=1).tolist(), truth - in_population[name])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    runs = parser.parse_args().runs
    rows = []
    for design in DESIGNS:
        results = coverage(design, runs, (patient_intervals, bootstrap_intervals)).values()
        cells = [" / ".join(f"{share:.1%}" for share in shares) + f" ({bias:+.3f})" for shares, bias in results]
        rows.append([*(f"{value:.2g}" if isinstance(value, float) else value for value in design), *cells])
    print(markdown_table([*Design._fields, *CLASSIFICATION.metrics], rows), end="\n\n")
    rows = [[str(count), *(f"{share:.1%}" for share in external_coverage(count, runs))] for count in FEW_POSITIVES]
    print(
        markdown_table(
            ["positive patients (beside 50 negative)", "degrees of freedom of the package", "of all patients"], rows
        )
    )


if __name__ == "__main__":
    main()
