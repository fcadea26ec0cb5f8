"""Heat maps of a data set, each slide by the model of the fold that tested it."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

from roformermil.bags.augmentation import SHUFFLE_REPEATS, shuffle_positions
from roformermil.bags.dataset import read_valid_store
from roformermil.bags.folds import FoldRow, read_folds
from roformermil.cohort.slide_table import SlideRecord, run_stage
from roformermil.errors import ModelError
from roformermil.features.store import SlideFeatures
from roformermil.models.inference import Prediction, TrainedModel, average_predictions, load_model
from roformermil.report.heatmaps.draw import write_heatmaps

MANY_TILES = 10_000  # attention among these takes 5 s on a CPU


def write_out_of_fold_heatmaps(
    records: list[SlideRecord],
    folds: Path,
    models: Path,
    stores: Path,
    classes: list[str],
    out: Path,
    timeout: float,
    warning: str = "",
    smooth: bool = False,
    ensemble: bool = False,
) -> list[SlideRecord]:
    """Write each slide's heat maps into `out`; returns the records, failed where a slide cannot be read.

    folds: folds.csv; models: folder with `fold_{k}/model.safetensors`; stores: folder of feature stores; classes: in the order
    of the configuration; warning, smooth: as of `write_heatmaps`; ensemble: whether all folds that test a slide
    predict it together, as those of an external data set do. Else the first counts. A slide that none tests gets no heat maps. Raises ModelError for a model of other classes, or of the same in another order.
    """
    tested: dict[str, list[FoldRow]] = {}
    for row in read_folds(folds):
        if row.part == "test" and (ensemble or row.slide_id not in tested):
            tested.setdefault(row.slide_id, []).append(row)

    @cache
    def fold_model(fold: int) -> TrainedModel:
        path = models / f"fold_{fold}/model.safetensors"
        model = load_model(path)
        if model.classes != classes:
            trained, wanted = ", ".join(model.classes), ", ".join(classes)
            raise ModelError(f"{path}: was trained on the classes {trained}, not on {wanted}: train it again")
        return model

    def draw(record: SlideRecord) -> dict[str, Any]:
        if rows := tested.get(record.slide_id):
            members = [fold_model(row.fold) for row in rows]
            features = read_valid_store(stores / f"{record.slide_id}.zarr")
            prediction = average_predictions([one.predict(features.features, features.grid) for one in members])
            predicted = [predict_shuffled(one, features, record.slide_id) for one in members]
            complete = [one for one in predicted if one]
            shuffled = average_predictions(complete) if complete else None
            write_heatmaps(
                record, features, prediction, classes, out, timeout, rows[0].label, shuffled, warning, smooth
            )
        return {}

    return run_stage("heatmap", records, draw)


def predict_shuffled(model: TrainedModel, features: SlideFeatures, slide_id: str) -> Prediction | None:
    """The mean prediction over SHUFFLE_REPEATS shuffles of the tiles' positions, those of shuffled.csv, or of one where there
    are MANY_TILES; None for a model that uses no positions. A shuffled grid is not also turned to eight orientations, which would
    take eight times as long."""
    if not model.model.settings.uses_position:
        return None
    once, grid = replace(model, average_orientations=False), torch.from_numpy(features.grid)
    repeats = SHUFFLE_REPEATS if len(grid) < MANY_TILES else 1
    grids = [shuffle_positions(grid, slide_id, k).numpy() for k in range(repeats)]
    return average_predictions([once.predict(features.features, shuffled) for shuffled in grids])
