"""The slides of an external data set, predicted by the model of one fold of another data set, in files like those of a fold."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from roformermil.bags.augmentation import SHUFFLE_REPEATS, shuffle_positions
from roformermil.bags.dataset import Batch, read_valid_store
from roformermil.bags.folds import FoldRow, rows_fingerprint
from roformermil.errors import BagError
from roformermil.evaluation.fold_results import EXTERNAL_FILE, MODEL_FILE, SHUFFLED_FILE, training_identity
from roformermil.evaluation.metrics import probability_columns
from roformermil.features.store import SlideFeatures, read_attributes
from roformermil.models.inference import Prediction, TrainedModel, load_model
from roformermil.runtime.files import file_sha256, remove, write_text
from roformermil.runtime.progress import track
from roformermil.runtime.records import write_rows
from roformermil.training.memory import memory_errors_named

Row = dict[str, Any]
PREDICTIONS = "predictions.csv"
OF_A_TRAINING = (MODEL_FILE, "history.csv")  # in the same folder where the data set was trained on before


def predict_external(
    model_file: Path, dataset: str, rows: Sequence[FoldRow], stores: Path, out: Path, progress: bool = True
) -> None:
    """Write `predictions.csv`, `shuffled.csv` and `external.json` into `out`.

    model_file: a fold's model.safetensors; dataset: the external data set's name; rows: its slides, of the model's fold. Features
    are normalized by the training slides' statistics, which the model contains; nothing is learned from the slides. Raises
    ModelError for a file that is no model; BagError, StoreError or OutOfMemoryError naming the slide that cannot be used.
    """
    model = load_model(model_file)
    predicted, shuffled = [], []
    for row in track(rows, desc=f"{dataset} fold {rows[0].fold}", unit="slide", on=progress):
        first, *others = _predict_slide(model, row, stores)  # the prediction, then those of shuffled positions
        predicted.append(_table_row(row, {"part": row.part}, first, model.classes))
        shuffled += [_table_row(row, {"repeat": k}, one, model.classes) for k, one in enumerate(others)]
    for name in OF_A_TRAINING:
        remove(out / name)
    write_rows(out / PREDICTIONS, predicted)
    columns = ["slide_id", "patient_id", "label", "repeat", *probability_columns(model.classes)]
    write_rows(out / SHUFFLED_FILE, shuffled, columns)
    fingerprints = {row.slide_id: read_attributes(_store(stores, row)).get("fingerprint") for row in rows}
    metadata = model.metadata | {
        "external": dataset,
        "training_identity": training_identity(model.metadata),
        "rows": rows_fingerprint(rows),
        "predictions": file_sha256(out / PREDICTIONS),
        "shuffled": file_sha256(out / SHUFFLED_FILE),
        "features": json.dumps(fingerprints),
    }
    write_text(out / EXTERNAL_FILE, json.dumps(metadata, indent=1) + "\n")


def _predict_slide(model: TrainedModel, row: FoldRow, stores: Path) -> Iterator[Prediction]:
    """The model's prediction, then those with shuffled positions; none of these for a model that uses no positions."""
    slide = read_valid_store(_store(stores, row))
    if (width := slide.features.shape[1]) != model.model.in_dim:
        widths = f"{width} values per tile, the training slides have {model.model.in_dim}"
        raise BagError(f"slide {row.slide_id} has {widths}: use features of one encoder for both data sets")
    grid = torch.from_numpy(slide.grid)
    with memory_errors_named(_batch(slide, row.slide_id), training=False):
        yield model.predict(slide.features, slide.grid)
        for repeat in range(SHUFFLE_REPEATS if model.model.settings.uses_position else 0):
            yield model.predict(slide.features, shuffle_positions(grid, row.slide_id, repeat).numpy())


def _batch(slide: SlideFeatures, slide_id: str) -> Batch:
    tensors = torch.from_numpy(slide.features), torch.from_numpy(slide.grid)
    return Batch(*tensors, [len(slide.grid)], torch.zeros(1, dtype=torch.int64), [slide_id])


def _store(stores: Path, row: FoldRow) -> Path:
    return stores / f"{row.slide_id}.zarr"


def _table_row(row: FoldRow, columns: Row, prediction: Prediction, classes: Sequence[str]) -> Row:
    probabilities = dict(zip(probability_columns(classes), prediction.probabilities.tolist(), strict=True))
    return {"slide_id": row.slide_id, "patient_id": row.patient_id, "label": row.label, **columns, **probabilities}
