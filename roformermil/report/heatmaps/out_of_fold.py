"""Heat maps of a data set, each slide by the model of the fold that tested it. Where patients are the unit, a slide is predicted
with the others of its patient."""

from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from roformermil.bags.augmentation import SHUFFLE_REPEATS, shuffle_bag
from roformermil.bags.dataset import Bag, join_slides, read_valid_store
from roformermil.bags.folds import FoldRow, read_folds
from roformermil.cohort.slide_table import SlideRecord, run_stage
from roformermil.errors import ModelError
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
    rows = [row for row in read_folds(folds) if row.part == "test"]
    tested: dict[str, list[FoldRow]] = {}
    for row in rows:
        if ensemble or row.slide_id not in tested:
            tested.setdefault(row.slide_id, []).append(row)

    @cache
    def fold_model(fold: int) -> TrainedModel:
        path = models / f"fold_{fold}/model.safetensors"
        model = load_model(path)
        if model.classes != classes:
            trained, wanted = ", ".join(model.classes), ", ".join(classes)
            raise ModelError(f"{path}: was trained on the classes {trained}, not on {wanted}: train it again")
        return model

    @lru_cache(maxsize=4)
    def predict(fold: int, slide_ids: tuple[str, ...]) -> tuple[dict[str, Prediction], dict[str, Prediction]]:
        """The predictions of a bag by slide, and those with shuffled positions, if the model uses them."""
        bag = join_slides({name: read_valid_store(stores / f"{name}.zarr") for name in slide_ids})
        predictions = fold_model(fold).predict_bag(bag), predict_shuffled(fold_model(fold), bag)
        by_slide = (one.split(bag.slide_lengths) if one else [] for one in predictions)
        first, second = (dict(zip(bag.slide_ids, parts, strict=False)) for parts in by_slide)
        return first, second

    def bag_of(tested: FoldRow) -> tuple[str, ...]:
        """The slides that are predicted with this one: all of its patient in this fold, where patients are the unit."""
        if fold_model(tested.fold).unit == "slide":
            return (tested.slide_id,)
        return tuple(row.slide_id for row in rows if (row.fold, row.patient_id) == (tested.fold, tested.patient_id))

    def draw(record: SlideRecord) -> dict[str, Any]:
        if of_slide := tested.get(record.slide_id):
            predicted = [predict(row.fold, bag_of(row)) for row in of_slide]
            prediction = average_predictions([members[record.slide_id] for members, _ in predicted])
            complete = [members[record.slide_id] for _, members in predicted if members]
            shuffled = average_predictions(complete) if complete else None
            features = read_valid_store(stores / f"{record.slide_id}.zarr")
            names = list(prediction.task.mapped)
            given = (prediction, names, out, timeout, of_slide[0].label, shuffled, warning, smooth)
            write_heatmaps(record, features, *given)
        return {}

    return run_stage("heatmap", records, draw)


def predict_shuffled(model: TrainedModel, bag: Bag) -> Prediction | None:
    """The mean prediction over SHUFFLE_REPEATS shuffles of the tiles' positions, those of shuffled.csv, or of one where there
    are MANY_TILES; None for a model that uses no positions. A shuffled grid is not also turned to eight orientations, which would
    take eight times as long."""
    if not model.model.settings.uses_position:
        return None
    once = replace(model, average_orientations=False)
    repeats = SHUFFLE_REPEATS if len(bag.grid) < MANY_TILES else 1
    return average_predictions([once.predict_bag(shuffle_bag(bag, k)) for k in range(repeats)])
