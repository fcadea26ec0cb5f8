"""External validation in the report: what models reach on slides of other hospitals, and how unlike the training slides these are."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from roformermil.evaluation.external import drop_sentences
from roformermil.evaluation.predictions import read_table
from roformermil.evaluation.shift import TABLE, describe_shift_table
from roformermil.evaluation.summary_text import EXTERNAL_HEADER, external_rows, external_title, of_errors


def describe_external(external: pd.DataFrame, datasets: Sequence[Path], trained: Mapping[str, str]) -> dict[str, Any]:
    """The `header` and `rows` of a table of main metrics (`title`), the `drops` in words, a sentence on the `shift` of each data set, and those
    without labels (`unlabelled`).

    external: external.csv; datasets: folders; trained: by external data set, the one that its models were trained on.
    """
    folders = [folder for folder in datasets if trained.get(folder.name)]
    shifts = [
        f"{folder.name}: {describe_shift_table(read_table(path), f'those of {trained[folder.name]}')}."
        for folder in folders
        for path in sorted(folder.glob(f"*/{TABLE}"))
    ]
    return {
        "header": EXTERNAL_HEADER,
        "rows": external_rows(external),
        "title": external_title(external) if len(external) else "",
        "errors": of_errors(external) if len(external) else "",
        "drops": [f"{row['model']}: {line}" for row, line in drop_sentences(external)],
        "shifts": shifts,
        "unlabelled": [folder.name for folder in folders if folder.name not in set(external.dataset)],
    }
