"""How often the bootstrap's 95% intervals hold the truth, in simulation: 1,000 replicates of data sets drawn from a population.

    python benchmarks/coverage.py                    # about 6 minutes on 2 cores
    python benchmarks/coverage.py --runs 200

A patient has one to three slides that share part of their error; scores are those of a fixed model, so the truth is its figure on a
population of 200,000 patients. The ratio is coverage over 95%.
"""

import argparse

import numpy as np

from roformermil.evaluation.bootstrap import draws, expanded_tails, over_folds, percentile_interval
from roformermil.evaluation.predictions import OutOfFold
from roformermil.evaluation.weighted import weighted_scores
from roformermil.metrics import METRICS, score

SIZES = ((50, 5), (200, 10), (500, 10))  # patients, folds


def data_set(rng: np.random.Generator, name: str, patients: int, folds: int) -> OutOfFold:
    label, count = rng.integers(0, 2, patients), rng.integers(1, 4, patients)
    fold_of = rng.permutation(patients) % folds
    of = np.repeat(np.arange(patients), count)
    scores = 1.2 * label[of] + rng.normal(0, 0.7, patients)[of] + rng.normal(0, 0.7, len(of)) - 0.6
    positive = 1 / (1 + np.exp(-2 * scores))
    probabilities = np.stack([1 - positive, positive], axis=1)
    return OutOfFold(name, "-", "-", ["a", "b"], np.arange(len(of)), of, fold_of[of], label[of], probabilities)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--replicates", type=int, default=500)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    population = data_set(rng, "population", 200_000, 1)
    truth = score(population.labels, population.probabilities)
    print(f"| patients | folds | {' | '.join(METRICS)} |\n|--:|--:|" + "--:|" * len(METRICS))
    for patients, folds in SIZES:
        inside = dict.fromkeys(METRICS, 0)
        for run in range(options.runs):
            found = data_set(rng, f"{patients}, {run}", patients, folds)
            drawn, tails = over_folds(found, draws(found, options.replicates), weighted_scores), expanded_tails(found)
            for name in METRICS:
                low, high = percentile_interval(drawn[name], tails)
                inside[name] += low <= truth[name] <= high
        cells = [f"{inside[name] / options.runs:.1%} ({inside[name] / options.runs / 0.95:.2f})" for name in METRICS]
        print(f"| {patients} | {folds} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
