"""Heat maps of a data set, each slide by the model of the fold that tested it."""

from functools import cache
from pathlib import Path
from typing import Any

from roformermil.bags.dataset import read_valid_store
from roformermil.bags.folds import read_folds
from roformermil.cohort.slide_table import SlideRecord, run_stage
from roformermil.errors import ModelError
from roformermil.models.inference import TrainedModel, load_model
from roformermil.report.heatmaps.draw import write_heatmaps


def write_out_of_fold_heatmaps(
    records: list[SlideRecord], folds: Path, models: Path, stores: Path, classes: list[str], out: Path, timeout: float
) -> list[SlideRecord]:
    """Write each slide's heat maps into `out`; returns the records, failed where a slide cannot be read.

    folds: folds.csv; models: folder with `fold_{k}/model.safetensors`; stores: folder of feature stores; classes: in the order
    of the configuration. Of several folds that test a slide the first counts; a slide that none tests gets no heat maps.
    Raises ModelError for a model of other classes, or of the same in another order.
    """
    tested = {row.slide_id: row for row in reversed(read_folds(folds)) if row.part == "test"}

    @cache
    def fold_model(fold: int) -> TrainedModel:
        path = models / f"fold_{fold}/model.safetensors"
        model = load_model(path)
        if model.classes != classes:
            trained, wanted = ", ".join(model.classes), ", ".join(classes)
            raise ModelError(f"{path}: was trained on the classes {trained}, not on {wanted}: train it again")
        return model

    def draw(record: SlideRecord) -> dict[str, Any]:
        if row := tested.get(record.slide_id):
            model, features = fold_model(row.fold), read_valid_store(stores / f"{record.slide_id}.zarr")
            prediction = model.predict(features.features, features.grid)
            write_heatmaps(record, features, prediction, model.classes, out, timeout, row.label)
        return {}

    return run_stage("heatmap", records, draw)
