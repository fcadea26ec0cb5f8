"""How often 95% intervals of survival's and regression's metrics contain the truth, in simulated data sets of patients.

    python benchmarks/coverage_tasks.py            # a minute on a core
    python benchmarks/coverage_tasks.py --runs 200

The truth is what the intervals are of: a mean over folds of this size, expected over all data sets. As benchmarks/coverage.py, which
is about classes.
"""

import argparse
from typing import NamedTuple

import numpy as np

from roformermil.evaluation.intervals import mean_over_folds, patient_intervals
from roformermil.evaluation.predictions import OutOfFold
from roformermil.runtime.text import markdown_table
from roformermil.tasks import Task
from roformermil.tasks.regression import Regression
from roformermil.tasks.survival import Survival


class Design(NamedTuple):
    task: Task
    patients: int
    folds: int
    censoring: float = 1.0  # mean time until a patient is lost to follow-up, over the median time to the event


DESIGNS = (
    Design(Survival(), 60, 5, 2.0),
    Design(Survival(), 100, 5, 0.6),
    Design(Survival(), 300, 5, 0.6),
    Design(Survival(), 100, 5, 0.12),  # two events per fold
    Design(Regression(), 60, 5),
    Design(Regression(), 300, 5),
)


def simulate(rng: np.random.Generator, design: Design) -> OutOfFold:
    """Out-of-fold predictions of new patients by a fixed model."""
    task, count = design.task, design.patients
    truth = rng.normal(size=count)
    score = 0.8 * truth + rng.normal(size=count)
    targets, predictions = truth, 0.8 / 1.64 * score[:, None]
    if task.main == "c_index":
        time, lost = rng.exponential(np.exp(-truth)), rng.exponential(design.censoring * np.log(2), count)
        targets = np.stack([np.minimum(time, lost), time <= lost], axis=1)
        predictions = np.repeat(score[:, None], len(task.columns), axis=1)
    patients, ones = np.array([f"p{k}" for k in range(count)]), np.ones(count, int)
    folds = rng.permutation(count) % design.folds
    return OutOfFold("-", "-", "-", task, patients, patients, folds, targets.astype(float), predictions, ones)


def coverage(design: Design, runs: int) -> tuple[float, dict[str, tuple[float, float]]]:
    """Events per fold, and of each metric its truth and the share of intervals that contain it."""
    rng, task = np.random.default_rng(0), design.task
    drawn = [simulate(rng, design) for _ in range(runs)]
    means = [mean_over_folds(one, task.weighted_metrics) for one in drawn]
    intervals = [patient_intervals(one, task.weighted_metrics) for one in drawn]
    events = np.mean([one.targets.reshape(len(one.targets), -1)[:, -1].sum() for one in drawn]) / design.folds
    result = {}
    for name in task.metrics:
        truth = np.nanmean([mean[name][0] for mean in means])
        inside = [low <= truth <= high for low, high in (interval[name] for interval in intervals)]
        result[name] = float(truth), float(np.mean(inside))
    return float(events), result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    runs, rows = parser.parse_args().runs, []
    for design in DESIGNS:
        events, by_metric = coverage(design, runs)
        per_fold = f"{events:.1f}" if design.task.tables else "–"
        rows += [
            [
                design.task.name,
                str(design.patients),
                str(design.folds),
                per_fold,
                metric,
                f"{truth:.2f}",
                f"{share:.1%}",
            ]
            for metric, (truth, share) in by_metric.items()
        ]
    header = ["task", "patients", "folds", "events per fold", "metric", "truth", "coverage"]
    print(markdown_table(header, rows))


if __name__ == "__main__":
    main()
