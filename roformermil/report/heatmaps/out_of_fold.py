"""Heat maps of a data set: each slide by the model of the fold that tested it."""

from functools import cache
from pathlib import Path
from typing import Any

from roformermil.bags.dataset import read_valid_store
from roformermil.bags.folds import FoldRow, read_all_folds
from roformermil.cohort.slide_table import SlideRecord, run_stage
from roformermil.models.inference import TrainedModel, load_model
from roformermil.report.heatmaps.draw import write_heatmaps


def write_out_of_fold_heatmaps(
    rows: list[SlideRecord],
    folds: Path,
    models: Path,
    stores: Path,
    out: Path,
    timeout: float = 600,
    progress: bool = True,
) -> list[SlideRecord]:
    """Write each slide's `{slide_id}.jpg` and `.geojson` into `out`; returns the rows, failed where a slide cannot be read.

    folds: folds.csv; models: folder with `fold_{k}/model.safetensors`. A slide that no fold tests gets none.
    """
    tested = _tested(folds)

    @cache
    def model_of(fold: int) -> TrainedModel:
        return load_model(models / f"fold_{fold}" / "model.safetensors")

    def draw(row: SlideRecord) -> dict[str, Any]:
        if part := tested.get(row.slide_id):
            model, store = model_of(part.fold), stores / f"{row.slide_id}.zarr"
            bag = read_valid_store(store)
            write_heatmaps(row, bag, model.answer(bag.features, bag.grid), model.classes, out, part.label, timeout)
        return {}

    return run_stage("heatmap", rows, draw, progress=progress)


def _tested(folds: Path) -> dict[str, FoldRow]:
    """The first fold that tests each slide."""
    return {row.slide_id: row for row in reversed(read_all_folds(folds)) if row.part == "test"}
