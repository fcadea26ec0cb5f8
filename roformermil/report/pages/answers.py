"""What the models reached, in numbers and in words."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from roformermil.evaluation.chance import CHANCE
from roformermil.evaluation.paper import paper_result
from roformermil.evaluation.pooled import POOLED
from roformermil.evaluation.position import position_sentence
from roformermil.evaluation.predictions import KEYS
from roformermil.evaluation.summary_text import (
    COLUMNS,
    METRIC_TITLES,
    NONE,
    difference_text,
    mean_text,
    number_text,
    value_text,
)
from roformermil.runtime.text import p_text

SHOWN_METRICS = ("auroc", "balanced_accuracy", "average_precision", POOLED)
PRIMARY_TESTS = {"corrected_t": "corrected resampled t-test", "jackknife": "jackknife over external patients"}
Row = Mapping[Any, Any]  # of summary.csv


def group_answers(summary: pd.DataFrame) -> list[dict[str, Any]]:
    """For each data set and encoder of summary.csv: what its models reached, as a sentence and as the lines of a table."""
    groups = []
    for (dataset, encoder), group in summary.groupby(["dataset", "encoder"], sort=False):
        models = {
            str(name): rows.set_index("metric").to_dict("index") for name, rows in group.groupby("model", sort=False)
        }
        aurocs = {name: metrics["auroc"] | {"metric": "auroc"} for name, metrics in models.items()}
        lines = [_model_line(name, models[name], aurocs[name]) for name in models]
        names = {"dataset": str(dataset), "encoder": str(encoder)}
        groups.append(names | {"sentence": _answer_sentence(aurocs), "models": lines, "positions": _positions(aurocs)})
    return groups


def metric_titles() -> list[str]:
    """Of the columns of the lines of `group_answers`."""
    return [METRIC_TITLES[name] for name in SHOWN_METRICS]


def _model_line(model: str, metrics: Mapping[Any, Row], auroc: Row) -> dict[str, Any]:
    cells = [value_text(metrics[name]).partition(" ") for name in SHOWN_METRICS]
    position = position_sentence(auroc) or "Tile positions: not used by this model."
    return {
        "name": model,
        "metrics": [(value, interval) for value, _, interval in cells],
        "interval": _percent(auroc),
        "seed_std": number_text(auroc["seed_std"]),
        "words": [_chance_words(auroc), position],
    }


def _percent(auroc: Row) -> tuple[float, float, float] | None:
    """Where an AUROC and its interval are drawn between 0 and 1: left end, width and middle, in percent."""
    if not np.isfinite(auroc["mean"]):
        return None
    low, high = (auroc[name] if np.isfinite(auroc[name]) else auroc["mean"] for name in ("ci_low", "ci_high"))
    return 100 * low, 100 * (high - low), 100 * auroc["mean"]


def against_chance(auroc: Row) -> str:
    """`better`, `worse`, `chance` or `unknown`: how a model compares with guessing."""
    low, high = (auroc[name] if np.isfinite(auroc[name]) else auroc["mean"] for name in ("ci_low", "ci_high"))
    if not np.isfinite(auroc["mean"]):
        return "unknown"
    return "better" if low > CHANCE else "worse" if high < CHANCE else "chance"


CHANCE_WORDS = {
    "better": "Better than chance.",
    "worse": "Worse than chance: its ranking is reversed.",
    "chance": "Not distinguishable from chance: the interval of AUROC includes 0.5.",
    "unknown": "No fold tests slides of every class, so there is no AUROC.",
}


def _chance_words(auroc: Row) -> str:
    verdict = against_chance(auroc)
    if verdict == "better" and not np.isfinite(auroc["ci_low"]):
        return "Better than chance. There is no interval: leaving out any one patient changes nothing."
    return CHANCE_WORDS[verdict]


def _answer_sentence(aurocs: Mapping[str, Row]) -> str:
    """What the models of a data set reached, those that do no better than guessing named apart."""
    by_verdict: dict[str, list[str]] = {}
    for name, auroc in aurocs.items():
        by_verdict.setdefault(against_chance(auroc), []).append(name)
    parts = []
    if better := by_verdict.pop("better", []):
        values = sorted({f"{aurocs[name]['mean']:.2f}" for name in better})
        verb, reached = _verb(better, "tells", "tell"), " to ".join(values[:1] + values[1:][-1:])
        parts.append(f"{_join(better)} {verb} the classes apart better than chance (AUROC {reached}).")
    if chance := by_verdict.pop("chance", []):
        end = "its 95% interval of AUROC includes" if len(chance) == 1 else "their 95% intervals of AUROC include"
        parts.append(f"{_join(chance)} {_verb(chance, 'is', 'are')} not distinguishable from chance: {end} 0.5.")
    if worse := by_verdict.pop("worse", []):
        parts.append(f"{_join(worse)} {_verb(worse, 'is', 'are')} worse than chance.")
    parts += [f"{_join(names)}: {CHANCE_WORDS['unknown']}" for names in by_verdict.values()]
    return " ".join(parts)


def _join(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _verb(names: Sequence[str], one: str, several: str) -> str:
    return one if len(names) == 1 else several


def _positions(aurocs: Mapping[str, Row]) -> list[list[str]]:
    """Of each model that uses positions: AUROC, the same with shuffled positions, and their difference."""
    return [
        [name, value_text(row), number_text(row["shuffled"]), difference_text(row)]
        for name, row in aurocs.items()
        if np.isfinite(row["shuffled_difference"])
    ]


def beside_the_paper(summary: pd.DataFrame, classes: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """The metrics of the paper's models on the paper's data sets, mean ± standard deviation, ours and the paper's in turn."""
    rows = []
    for (dataset, _, model), group in summary.groupby(KEYS, sort=False):
        by_metric = group.set_index("metric").to_dict("index")
        papers = [paper_result(str(dataset), classes[str(dataset)], str(model), name) for name, _ in COLUMNS]
        texts = ["{:.2f} ± {:.2f}".format(*paper) if paper else NONE for paper in papers]
        ours = [mean_text(by_metric[name]) for name, _ in COLUMNS]
        if any(papers):
            rows.append([str(dataset), str(model), *(cell for pair in zip(ours, texts, strict=True) for cell in pair)])
    return rows


def describe_comparisons(table: pd.DataFrame) -> dict[str, list[str]]:
    """What the primary test, of AUROC over folds, says of the pairs of models: a `summary`, and the `differences`."""
    table = table[(table.metric == "auroc") & table.test.isin(PRIMARY_TESTS)]
    tested, untested, different = table[table.p_holm.notna()], table[table.p_holm.isna()], table[table.p_holm < 0.05]
    tests = [name for test, name in PRIMARY_TESTS.items() if (table.test == test).any()]
    summary, test = [], f"{', '.join(tests)}, Holm's correction"
    if len(tested):
        pairs = "pair of models differs" if len(tested) == 1 else "pairs of models differ"
        summary.append(f"{len(different)} of {len(tested)} {pairs} at the 5% level ({test}).")
    if len(different) < len(tested):
        summary.append("A difference that is not significant does not show that two models are equal.")
    of_folds = np.where(untested.folds < 2, "fewer than two folds allow one", "the models differ equally in every fold")
    unchanged = "leaving out any one patient changes no difference, or a class is missing"
    causes = np.where(untested.test == "jackknife", unchanged, of_folds)
    for cause, count in Counter(causes.tolist()).items():
        summary.append(f"{count} {'comparison has' if count == 1 else 'comparisons have'} no p value: {cause}.")
    return {"summary": summary, "differences": [_difference_sentence(row) for row in different.to_dict("records")]}


def _difference_sentence(row: Row) -> str:
    """The better model first."""
    better, worse, low, high = row["model"], row["against"], row["ci_low"], row["ci_high"]
    if row["difference"] < 0:
        better, worse, low, high = worse, better, -high, -low
    test = f"95% interval {low:.2f} to {high:.2f}; {p_text(row['p_holm'])}"
    return f"{row['dataset']}: {better} is better than {worse} by {abs(row['difference']):.2f} AUROC ({test})"
