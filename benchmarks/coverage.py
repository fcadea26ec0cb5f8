"""How often the bootstrap's 95% intervals hold the truth, in simulation: 1,000 data sets drawn from a population.

    python benchmarks/coverage.py                    # about 15 minutes on a core
    python benchmarks/coverage.py --runs 200

A patient has one to three slides that share part of their error; scores are those of a fixed model. The truth is what an interval is of:
the figure of the paper's table, a mean over folds of this size, expected over all data sets. `bias` is how far that lies from the figure
of a population of 100,000 patients: nothing to speak of, but for average precision over few positives. The ratio is coverage over 95%.
An interval that is not there, as of a perfect figure, holds nothing.
"""

import argparse
from typing import NamedTuple

import numpy as np

from roformermil.evaluation.bootstrap import LEVEL, intervals, mean_over_folds
from roformermil.evaluation.metrics import METRICS, compute_metrics
from roformermil.evaluation.predictions import OutOfFold
from roformermil.evaluation.weighted import weighted_scores


class Design(NamedTuple):
    patients: int
    folds: int
    positive: float  # fraction of patients, of each class but the first
    effect: float  # between the classes, in standard deviations of the error
    classes: int = 2
    by: str = "patient"  # folds divide by patient, or by slide as the paper's release does


DESIGNS = (
    Design(50, 5, 0.5, 1.2), Design(200, 10, 0.5, 1.2), Design(200, 10, 0.2, 1.2), Design(200, 10, 0.5, 2.5), Design(500, 10, 0.5, 1.2),
    Design(200, 10, 1 / 3, 1.2, classes=3), Design(200, 10, 0.5, 1.2, by="slide"), Design(200, 10, 1 / 3, 1.2, 3, "slide"),
    Design(20, 10, 0.5, 1.2), Design(100, 10, 0.1, 1.2),  # one patient of a class a fold
)  # fmt: skip


def data_set(rng: np.random.Generator, name: str, design: Design) -> OutOfFold:
    """Out-of-fold predictions of patients drawn anew, divided by label as `make_folds` does."""
    label = (rng.random(design.patients) / design.positive).astype(int)  # 0, 1, ... as often as `positive` says
    label = np.where(label < design.classes - 1, label + 1, 0)
    of = np.repeat(np.arange(design.patients), rng.integers(1, 4, design.patients))
    units = label if design.by == "patient" else label[of]
    fold_of = np.empty(len(units), int)
    fold_of[np.argsort(units + rng.random(len(units)) / 2)] = np.arange(len(units)) % design.folds
    folds = fold_of[of] if design.by == "patient" else fold_of
    error = rng.normal(0, 0.7, (design.patients, design.classes - 1))[of] + rng.normal(
        0, 0.7, (len(of), design.classes - 1)
    )
    logits = 2 * (design.effect * ((label[of, None] == np.arange(1, design.classes)) - 0.5) + error)
    scores = np.exp(np.concatenate([np.zeros((len(of), 1)), logits], axis=1))
    probabilities = scores / scores.sum(axis=1, keepdims=True)
    names = list("abc"[: design.classes])
    return OutOfFold(name, "-", "-", names, np.arange(len(of)), of, folds, label[of], probabilities)


def coverage(design: Design, runs: int, replicates: int, level: float = LEVEL) -> dict[str, tuple[float, float]]:
    """By metric: the share of `runs` intervals that hold the truth, and the table's bias."""
    rng = np.random.default_rng(0)
    population = data_set(rng, "population", design._replace(patients=100_000, folds=1))
    truth = compute_metrics(population.labels, population.probabilities)
    figures, bounds = {name: [] for name in METRICS}, {name: [] for name in METRICS}
    for run in range(runs):
        found = data_set(rng, f"{design}, {run}", design)
        means = mean_over_folds(found, np.ones((1, len(found.labels))), weighted_scores)
        low_high = intervals(found, weighted_scores, replicates, level)
        for name in METRICS:
            figures[name].append(means[name][0])
            bounds[name].append(low_high[name])
    result = {}
    for name in METRICS:
        expected, (low, high) = np.mean(figures[name]), np.array(bounds[name]).T
        result[name] = (np.mean((low <= expected) & (expected <= high)), expected - truth[name])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--replicates", type=int, default=500)
    options = parser.parse_args()
    print(
        f"| patients | folds | positive | effect | classes | folds by | {' | '.join(METRICS)} |\n|--:|--:|--:|--:|--:|---|"
        + "--:|" * len(METRICS)
    )
    for design in DESIGNS:
        found = coverage(design, options.runs, options.replicates)
        cells = [f"{share:.1%} ({share / 0.95:.2f}), bias {bias:+.3f}" for share, bias in found.values()]
        print(
            f"| {' | '.join(f'{value:.2g}' if isinstance(value, float) else str(value) for value in design)} | {' | '.join(cells)} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
