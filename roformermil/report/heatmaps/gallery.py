"""The heat maps that the report shows."""

import shutil
from pathlib import Path

import pandas as pd

from roformermil.evaluation.predictions import FoldResult, out_of_fold
from roformermil.runtime.files import atomic_path


def copy_gallery(predictions: list[Path], sheets: Path, out: Path, per_class: int) -> list[str]:
    """Copy into `out/{label}/{right or wrong}` the sheets of the slides that the model was surest of: of each class, `per_class`
    that it got right and `per_class` that it got wrong. Returns their slide ids."""
    (found,) = out_of_fold([FoldResult.at(path) for path in predictions])
    one = found.once()  # by the fold that drew its sheet
    table = pd.DataFrame({"slide_id": one.slides, "label": one.labels, "decided": one.probabilities.argmax(axis=1)})
    table["sure"], table["right"] = one.probabilities.max(axis=1), table.label == table.decided
    table = table[[(sheets / f"{slide_id}.jpg").exists() for slide_id in table.slide_id]]
    chosen = table.sort_values("sure", ascending=False).groupby(["label", "right"]).head(per_class)
    with atomic_path(out) as scratch:
        scratch.mkdir()
        for slide_id, label, right in zip(chosen.slide_id, chosen.label, chosen.right, strict=True):
            folder = scratch / one.classes[label] / ("right" if right else "wrong")
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(sheets / f"{slide_id}.jpg", folder)
    return chosen.slide_id.tolist()
