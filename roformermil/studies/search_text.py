"""`search.md`: the search's tables for people."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from roformermil.evaluation.summary_text import difference_text, number_text, value_text
from roformermil.runtime.text import markdown_table
from roformermil.studies.search_space import DEFAULT

Group = tuple[str, str]  # data set and encoder
METRICS = {"auroc": "AUROC", "log_loss": "log loss, lower is better"}
SCORES = {"loss": "log loss", "auroc": "AUROC"}
LEGEND = """Settings are chosen in each fold on its validation slides; the trainings among which they are chosen never see its test slides.
So *test* of the chosen settings tells what this model **with its search** reaches on new patients, and *validation*, on which
they were chosen, is optimistic. *validation − test* is that optimism, and how the two groups of patients differ. Intervals are of 95% over
patients; they do not account for other training runs. Each trial, and the best up to it: search_trials.csv; other metrics:
search.csv."""


def search_text(table: pd.DataFrame, trials: pd.DataFrame, score: str, notes: Mapping[Group, list[str]]) -> str:
    """Per data set and model: what the search gained, the default and the chosen settings on validation and test slides, and
    what each fold chose.

    table: search.csv; trials: search_trials.csv; score: as `search.score`; notes: each data set's number of slides and cautions.
    """
    sections = []
    for key, group in table.groupby(["dataset", "encoder", "model"], sort=False):
        tried = trials[(trials[["dataset", "encoder", "model"]] == list(key)).all(axis=1)]
        dataset, encoder, model = map(str, key)
        sections += [
            f"## {dataset} ({encoder}), {model}: {tried.trial.max()} trainings per fold, chosen by validation {SCORES[score]}",
            "\n".join(search_verdict(group)),
            *(f"{title}, mean over folds\n\n{_metric_table(group, metric)}" for metric, title in METRICS.items()),
            f"What each fold chose\n\n{_choice_table(tried)}",
            "\n".join(f"- {line}" for line in notes[dataset, encoder]),
        ]
    return "\n\n".join([*sections, LEGEND]) + "\n"


def search_verdict(group: pd.DataFrame) -> list[str]:
    """Two sentences on AUROC: what the chosen settings gain on test slides, and how far their validation slides mislead.
    group: the rows of search.csv of a model."""
    row = group[(group.metric == "auroc") & (group.setting != DEFAULT)].to_dict("records")[0]
    gain, optimism = difference_text(row, "default_difference", "default"), difference_text(row, "optimism", "optimism")
    effect = f"The search changes AUROC on test slides by {gain}"
    if row["default_low"] > 0:
        effect += ": it helps"
    elif row["default_high"] < 0:
        effect += ": it harms, so the validation slides are too few to choose on"
    else:  # or there is no interval, as of perfect scores
        effect += ": no measurable effect"
    return [f"{effect}.", f"On the validation slides that chose, AUROC exceeds that on test slides by {optimism}."]


def _metric_table(group: pd.DataFrame, metric: str) -> str:
    rows = group[group.metric == metric].to_dict("records")
    cells = [
        (
            row["setting"],
            number_text(row["validation"]),
            value_text(row),
            difference_text(row, "optimism", "optimism"),
            _change(row),
        )
        for row in rows
    ]
    return markdown_table(
        ["settings", "validation", "test [95% interval]", "validation − test", "test − default"], cells
    )


def _change(row: Mapping[Any, Any]) -> str:
    return "" if row["setting"] == DEFAULT else difference_text(row, "default_difference", "default")


def _choice_table(trials: pd.DataFrame) -> str:
    cells = []
    for fold, tried in trials.groupby("fold"):
        first, best = tried.iloc[0], tried[tried.chosen].iloc[0]
        scores = [f"{one.loss:.2f} / {one.auroc:.2f}" for one in (best, first)]
        cells.append((fold, best.setting.replace(",", ", "), best.trial, *scores))
    header = ["fold", "chosen", "trial", "its validation log loss / AUROC", "the default's"]
    return markdown_table(header, cells)
