"""What the models reached, in numbers and in words."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

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
from roformermil.tasks import Task, task_with

PRIMARY_TESTS = {"corrected_t": "corrected resampled t-test", "jackknife": "jackknife over external patients"}
NO_INTERVAL = "There is no interval: leaving out any one patient changes nothing, or patients are too few."
Row = Mapping[Any, Any]  # of summary.csv


def group_answers(summary: pd.DataFrame) -> list[dict[str, Any]]:
    """For each data set and encoder of summary.csv: what its models reached, as a sentence and as the lines of a table."""
    groups = []
    for (dataset, encoder), group in summary.groupby(["dataset", "encoder"], sort=False):
        models = {
            str(name): rows.set_index("metric").to_dict("index") for name, rows in group.groupby("model", sort=False)
        }
        task = task_with(group.metric)
        main = {name: metrics[task.main] | {"metric": task.main} for name, metrics in models.items()}
        lines = [_model_line(name, models[name], main[name]) for name in models]
        names = {"dataset": str(dataset), "encoder": str(encoder)}
        groups.append(
            names | {"sentence": _answer_sentence(task, main), "models": lines, "positions": _positions(main)}
        )
    return groups


def shown_metrics(metrics: Collection[str]) -> list[str]:
    """Those of the columns of the lines of `group_answers`. metrics: of summary.csv."""
    return [*task_with(metrics).reported, *([POOLED] if POOLED in metrics else [])]


def _model_line(model: str, metrics: Mapping[Any, Row], main: Row) -> dict[str, Any]:
    cells = [value_text(metrics[name]).partition(" ") for name in shown_metrics(list(metrics))]
    position = position_sentence(main) or "Tile positions: not used by this model."
    return {
        "name": model,
        "metrics": [(value, interval) for value, _, interval in cells],
        "interval": _percent(main),
        "seed_std": number_text(main["seed_std"]),
        "words": [_chance_words(main), position],
    }


def scale_of(task: Task) -> tuple[float, float]:
    """Between what the main metric is drawn: guessing is in the middle."""
    return 2 * task.chance - 1, 1.0


def _percent(row: Row) -> tuple[float, float, float] | None:
    """Where a main metric and its interval are drawn on `scale_of`: left end, width and middle, in percent."""
    if not np.isfinite(row["mean"]):
        return None
    lowest, highest = scale_of(task_with([row["metric"]]))
    ends = (row[name] if np.isfinite(row[name]) else row["mean"] for name in ("ci_low", "ci_high"))
    low, high, mean = (max(0.0, (value - lowest) / (highest - lowest)) for value in (*ends, row["mean"]))
    return 100 * low, 100 * (high - low), 100 * mean


def against_chance(row: Row) -> str:
    """`better`, `worse`, `chance` or `unknown`: how a model compares with guessing. row: of its main metric."""
    low, high = (row[name] if np.isfinite(row[name]) else row["mean"] for name in ("ci_low", "ci_high"))
    if not np.isfinite(row["mean"]):
        return "unknown"
    chance = task_with([row["metric"]]).chance
    return "better" if low > chance else "worse" if high < chance else "chance"


def _chance_words(row: Row) -> str:
    task, verdict = task_with([row["metric"]]), against_chance(row)
    if verdict == "better" and not np.isfinite(row["ci_low"]):
        return f"Better than {task.guess}. {NO_INTERVAL}"
    if verdict == "chance" and not np.isfinite(row["ci_low"]):
        return f"Not distinguishable from {task.guess}. {NO_INTERVAL}"
    return {
        "better": f"Better than {task.guess}.",
        "worse": f"Worse than {task.guess}{task.reversed_ranking}.",
        "chance": f"Not distinguishable from {task.guess}: the interval of {METRIC_TITLES[task.main]} includes {task.chance:g}.",
        "unknown": task.undefined,
    }[verdict]


def _answer_sentence(task: Task, rows: Mapping[str, Row]) -> str:
    """What the models of a data set reached, those that do no better than guessing named apart. rows: of the main metric."""
    by_verdict: dict[str, list[str]] = {}
    for name, row in rows.items():
        by_verdict.setdefault(against_chance(row), []).append(name)
    parts, title = [], METRIC_TITLES[task.main]
    if better := by_verdict.pop("better", []):
        values = sorted({f"{rows[name]['mean']:.2f}" for name in better})
        verb, reached = _verb(better, *task.aim), " to ".join(values[:1] + values[1:][-1:])
        parts.append(f"{_join(better)} {verb} better than {task.guess} ({title} {reached}).")
    if chance := by_verdict.pop("chance", []):
        end = f"its 95% interval of {title} includes {task.chance:g}"
        end = end if len(chance) == 1 else f"their 95% intervals of {title} include {task.chance:g}"
        if not all(np.isfinite(rows[name]["ci_low"]) for name in chance):
            end = f"{task.chance:g} is their {title}, or within its 95% interval"
        verb = _verb(chance, "is", "are")
        parts.append(f"{_join(chance)} {verb} not distinguishable from {task.guess}: {end}.")
    if worse := by_verdict.pop("worse", []):
        parts.append(f"{_join(worse)} {_verb(worse, 'is', 'are')} worse than {task.guess}.")
    parts += [f"{_join(names)}: {task.undefined}" for names in by_verdict.values()]
    return " ".join(parts)


def _join(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _verb(names: Sequence[str], one: str, several: str) -> str:
    return one if len(names) == 1 else several


def _positions(rows: Mapping[str, Row]) -> list[list[str]]:
    """Of each model that uses positions: main metric, the same with shuffled positions, and their difference."""
    return [
        [name, value_text(row), number_text(row["shuffled"]), difference_text(row)]
        for name, row in rows.items()
        if np.isfinite(row["shuffled_difference"])
    ]


def beside_the_paper(summary: pd.DataFrame, classes: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """The metrics of the paper's models on the paper's data sets, mean ± standard deviation, ours and the paper's in turn."""
    rows = []
    for (dataset, _, model), group in summary.groupby(KEYS, sort=False):
        by_metric = group.set_index("metric").to_dict("index")
        of_dataset = classes.get(str(dataset), [])
        papers = [paper_result(str(dataset), of_dataset, str(model), name) for name, _ in COLUMNS]
        texts = ["{:.2f} ± {:.2f}".format(*paper) if paper else NONE for paper in papers]
        if any(papers):
            ours = [mean_text(by_metric[name]) for name, _ in COLUMNS]
            rows.append([str(dataset), str(model), *(cell for pair in zip(ours, texts, strict=True) for cell in pair)])
    return rows


def describe_comparisons(table: pd.DataFrame) -> dict[str, list[str]]:
    """What the primary test, of the main metric over folds, says of the pairs of models: a `summary`, and the `differences`."""
    main = task_with(table.metric).main if len(table) else ""
    table = table[(table.metric == main) & table.test.isin(PRIMARY_TESTS)]
    tested, untested, different = table[table.p_holm.notna()], table[table.p_holm.isna()], table[table.p_holm < 0.05]
    tests = [name for test, name in PRIMARY_TESTS.items() if (table.test == test).any()]
    summary, test = [], f"{', '.join(tests)}, Holm's correction"
    if len(tested):
        pairs = "pair of models differs" if len(tested) == 1 else "pairs of models differ"
        summary.append(f"{len(different)} of {len(tested)} {pairs} at the 5% level ({test}).")
    if len(different) < len(tested):
        summary.append("A difference that is not significant does not show that two models are equal.")
    of_folds = np.where(untested.folds < 2, "fewer than two folds allow one", "the models differ equally in every fold")
    unchanged = "leaving out any one patient changes no difference, or a class has no patient or one"
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
    return f"{row['dataset']}: {better} is better than {worse} by {abs(row['difference']):.2f} {METRIC_TITLES[row['metric']]} ({test})"
