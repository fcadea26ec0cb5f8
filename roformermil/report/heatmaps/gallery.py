"""The heat maps that the report shows."""

import shutil
from pathlib import Path

import pandas as pd

from roformermil.bags.folds import read_folds
from roformermil.bags.patients import slides_of_bags
from roformermil.evaluation.consistency import read_results
from roformermil.evaluation.predictions import out_of_fold
from roformermil.runtime.files import atomic_path


def copy_gallery(predictions: list[Path], heatmaps: Path, out: Path, per_class: int) -> list[str]:
    """Copy the panels of the most confident predictions into `out/{label}/{right or wrong}`: of each class `per_class`
    right ones and `per_class` wrong ones; of slides without a label into `out/{predicted class}/unlabelled`; of another task
    the highest and the lowest predictions. Returns their slide ids.

    predictions: predictions.csv of a model's folds; heatmaps: the folder of its panels.
    """
    (model,) = out_of_fold(read_results(predictions), labelled=False)
    model = model.without_repeats()  # the fold that drew the panel
    groups, outcomes, confidence = model.task.gallery(model.targets, model.predictions)
    table = pd.DataFrame({"bag": model.slides, "label": groups, "outcome": outcomes, "confidence": confidence})
    if model.unit == "patient":  # whose slides are several
        slides = slides_of_bags(read_folds(predictions[0].absolute().parents[3] / "folds.csv"), model.unit)
        table = table.assign(slide_id=table.bag.map(slides)).explode("slide_id")
    else:
        table = table.assign(slide_id=table.bag)
    table = table[[(heatmaps / f"{slide_id}.jpg").exists() for slide_id in table.slide_id]]
    table = table.drop_duplicates("bag")  # one slide of each patient
    chosen = table.sort_values("confidence", ascending=False).groupby(["label", "outcome"]).head(per_class)
    with atomic_path(out) as scratch:
        scratch.mkdir()
        for slide_id, label, outcome in zip(chosen.slide_id, chosen.label, chosen.outcome, strict=True):
            folder = scratch / label / outcome
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(heatmaps / f"{slide_id}.jpg", folder)
    return chosen.slide_id.tolist()
