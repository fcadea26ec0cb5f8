"""External validation in the report: what models reach on slides of other hospitals, and how unlike the training slides these are."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from roformermil.evaluation.external import drop_sentence
from roformermil.evaluation.predictions import read_table
from roformermil.evaluation.shift import describe_shift_table
from roformermil.evaluation.summary_text import EXTERNAL_HEADER, external_rows


def describe_external(external: pd.DataFrame, datasets: Sequence[Path], trained: Mapping[str, str]) -> dict[str, Any]:
    """The `header` and `rows` of a table of AUROCs, the `drops` in words, a sentence on the `shift` of each data set, and those
    without labels (`unlabelled`).

    external: external.csv; datasets: folders; trained: by external data set, the one that its models were trained on.
    """
    aurocs = external[external.metric == "auroc"].to_dict("records")
    folders = [folder for folder in datasets if trained.get(folder.name)]
    shifts = [
        f"{folder.name}: {describe_shift_table(read_table(path), f'those of {trained[folder.name]}')}."
        for folder in folders
        for path in sorted(folder.glob("*/shift.csv"))
    ]
    return {
        "header": EXTERNAL_HEADER,
        "rows": external_rows(external),
        "drops": [f"{row['model']}: {line}" for row in aurocs if (line := drop_sentence(row))],
        "shifts": shifts,
        "unlabelled": [folder.name for folder in folders if folder.name not in set(external.dataset)],
    }
