"""The slides of an external data set, predicted by the model of one fold of another data set, in files like those of a fold."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from roformermil.bags.augmentation import SHUFFLE_REPEATS, shuffle_bag
from roformermil.bags.covariate_table import bag_id, covariates_digest
from roformermil.bags.dataset import join_slides, pack, read_valid_store
from roformermil.bags.folds import FoldRow, rows_fingerprint
from roformermil.bags.patients import group_into_bags
from roformermil.cohort.covariates import Cells
from roformermil.errors import BagError
from roformermil.evaluation.fold_results import EXTERNAL_FILE, MODEL_FILE, SHUFFLED_FILE, training_identity
from roformermil.features.store import read_attributes
from roformermil.models.inference import Prediction, TrainedModel, bag_covariates, load_model
from roformermil.runtime.files import file_sha256, remove, write_text
from roformermil.runtime.progress import track
from roformermil.runtime.records import write_rows
from roformermil.training.memory import memory_errors_named

Row = dict[str, Any]
PREDICTIONS = "predictions.csv"
ID_COLUMNS = {"slide": ("slide_id", "patient_id"), "patient": ("patient_id",)}
OF_A_TRAINING = (MODEL_FILE, "history.csv")  # in the same folder where the data set was trained on before


def predict_external(
    model_file: Path,
    dataset: str,
    rows: Sequence[FoldRow],
    stores: Path,
    out: Path,
    progress: bool = True,
    covariates: Path | None = None,
) -> None:
    """Write `predictions.csv`, `shuffled.csv` and `external.json` into `out`.

    model_file: a fold's model.safetensors; dataset: the external data set's name; rows: its slides, of the model's fold; predicted by patient where
    the model was trained so. Features
    are normalized by the training slides' statistics, which the model contains; nothing is learned from the slides. covariates: the
    data set's covariates.csv, for a model that uses them. Raises ModelError for a file that is no model; BagError, StoreError or OutOfMemoryError naming the slide that cannot be used.
    """
    model = load_model(model_file)
    predicted, shuffled = [], []
    bags = group_into_bags(rows, model.unit)
    cells = bag_covariates(model, rows, covariates)
    for bag in track(bags, desc=f"{dataset} fold {rows[0].fold}", unit=model.unit, on=progress):
        first, *others = _predict_bag(model, bag, stores, cells)  # the prediction, then those of shuffled positions
        predicted.append(_table_row(bag[0], model, {"part": bag[0].part}, first))
        shuffled += [_table_row(bag[0], model, {"repeat": k}, one) for k, one in enumerate(others)]
    for name in OF_A_TRAINING:
        remove(out / name)
    write_rows(out / PREDICTIONS, predicted)
    columns = [*ID_COLUMNS[model.unit], "label", "repeat", *model.task.columns]
    write_rows(out / SHUFFLED_FILE, shuffled, columns)
    fingerprints = {row.slide_id: read_attributes(_store(stores, row)).get("fingerprint") for row in rows}
    metadata = model.metadata | {
        "external": dataset,
        "training_identity": training_identity(model.metadata),
        "rows": rows_fingerprint(rows),
        "predictions": file_sha256(out / PREDICTIONS),
        "shuffled": file_sha256(out / SHUFFLED_FILE),
        "features": json.dumps(fingerprints),
        **({"covariate_values": covariates_digest(covariates, rows)} if model.covariates and covariates else {}),
    }
    write_text(out / EXTERNAL_FILE, json.dumps(metadata, indent=1) + "\n")


def _predict_bag(
    model: TrainedModel, rows: Sequence[FoldRow], stores: Path, covariates: Mapping[str, Cells]
) -> Iterator[Prediction]:
    """The model's prediction for the slides of a bag, then those with shuffled positions; none of these for a model that uses no
    positions."""
    slides = {row.slide_id: read_valid_store(_store(stores, row)) for row in rows}
    for slide_id, slide in slides.items():
        if (width := slide.features.shape[1]) != model.model.in_dim:
            widths = f"{width} values per tile, the training slides have {model.model.in_dim}"
            raise BagError(f"slide {slide_id} has {widths}: use features of one encoder for both data sets")
    bag, z = join_slides(slides), covariates.get(bag_id(rows[0], model.unit))
    with memory_errors_named(pack([bag]), training=False):
        yield model.predict_bag(bag, z)
        for repeat in range(SHUFFLE_REPEATS if model.model.settings.uses_position else 0):
            yield model.predict_bag(shuffle_bag(bag, repeat), z)


def _store(stores: Path, row: FoldRow) -> Path:
    return stores / f"{row.slide_id}.zarr"


def _table_row(row: FoldRow, model: TrainedModel, columns: Row, prediction: Prediction) -> Row:
    """row: of the bag's first slide."""
    ids = {name: getattr(row, name) for name in (*ID_COLUMNS[model.unit], "label")}
    return ids | columns | dict(zip(model.task.columns, prediction.values.tolist(), strict=True))
