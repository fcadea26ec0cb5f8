"""External validation in the report: what models reach on slides of other hospitals, and how unlike the training slides these are."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from roformermil.evaluation.external import drop_sentence
from roformermil.evaluation.predictions import KEYS, read_table
from roformermil.evaluation.shift import describe_shift_table
from roformermil.evaluation.summary_text import EXTERNAL_HEADER, external_rows, external_title, of_errors
from roformermil.tasks import task_with


def describe_external(external: pd.DataFrame, datasets: Sequence[Path], trained: Mapping[str, str]) -> dict[str, Any]:
    """The `header` and `rows` of a table of main metrics (`title`), the `drops` in words, a sentence on the `shift` of each data set, and those
    without labels (`unlabelled`).

    external: external.csv; datasets: folders; trained: by external data set, the one that its models were trained on.
    """
    told = external[external.metric.isin(task_with(external.metric).transferred)] if len(external) else external
    folders = [folder for folder in datasets if trained.get(folder.name)]
    shifts = [
        f"{folder.name}: {describe_shift_table(read_table(path), f'those of {trained[folder.name]}')}."
        for folder in folders
        for path in sorted(folder.glob("*/shift.csv"))
    ]
    return {
        "header": EXTERNAL_HEADER,
        "rows": external_rows(external),
        "title": external_title(external) if len(external) else "",
        "errors": of_errors(external) if len(external) else "",
        "drops": [
            f"{row['model']}: {line}"
            for row in told.drop_duplicates([*KEYS, "metric"]).to_dict("records")  # by slide, where there is that
            if (line := drop_sentence(row))
        ],
        "shifts": shifts,
        "unlabelled": [folder.name for folder in folders if folder.name not in set(external.dataset)],
    }
