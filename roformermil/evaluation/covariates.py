"""What covariates add to a model's features, and features to covariates: differences on the same patients."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from roformermil.evaluation.comparisons import jackknife_t
from roformermil.evaluation.fold_results import FoldResult
from roformermil.evaluation.predictions import KEYS, OutOfFold
from roformermil.evaluation.summary_text import difference_text
from roformermil.tasks import METRIC_TITLES

FILE = "covariate_gains.csv"
WITHOUT, ALONE = "without covariates", "covariates alone"
COLUMNS = [*KEYS, "against", "which_is", "metric", "difference", "ci_low", "ci_high"]


def gains_table(models: Sequence[OutOfFold], results: Sequence[FoldResult]) -> pd.DataFrame:
    """The main metric, such as AUROC, of each model with covariates less that of the same model without them, and less that of covariates alone, with
    the jackknife's 95% interval over the patients that both predict. No rows where there are no such pairs.

    models: of these results, as of `out_of_fold`.
    """
    settings = {result.key: json.loads(result.metadata["model"]) for result in results}
    rows = []
    for fused in (one for one in models if settings[one.key].get("covariates")):
        for other in (one for one in models if one.key[:2] == fused.key[:2]):
            if which := _relation(settings[fused.key], settings[other.key]):
                metric = fused.task.main
                compared = jackknife_t(fused, other, metric)
                bounds = (compared.difference, compared.ci_low, compared.ci_high)
                rows.append((*fused.key, other.model, which, metric, *bounds))
    return pd.DataFrame(rows, columns=COLUMNS)


def _relation(fused: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """What another model is to one with covariates; "" for neither of the two. Both: settings of a model."""
    if other["name"] == "covariates":
        return ALONE
    differing = {key for key in {**fused, **other} if fused.get(key) != other.get(key)}
    return WITHOUT if differing == {"id", "covariates"} else ""


def gain_sentences(gains: pd.DataFrame) -> dict[tuple[str, str], list[str]]:
    """By data set and encoder, a sentence for each model with covariates. gains: as of `gains_table`."""
    sentences: dict[tuple[str, str], list[str]] = {}
    for (dataset, encoder, model), rows in gains.groupby(KEYS, sort=False):
        parts = [
            f"{difference_text(row, 'difference', 'ci')} against {row['against']} ({row['which_is']})"
            for row in rows.sort_values("which_is", ascending=False).to_dict("records")
        ]
        gain = f"gain in {METRIC_TITLES[rows.metric.iloc[0]]}"
        text = f"{dataset}, {model}: {gain} {', and '.join(parts)}; 95% intervals over patients."
        sentences.setdefault((str(dataset), str(encoder)), []).append(text)
    return sentences
