"""A packaged model, and its predictions of slides."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from roformermil.bags.augmentation import SHUFFLE_REPEATS, shuffle_positions
from roformermil.bags.dataset import read_valid_store
from roformermil.cohort.slide_table import SlideRecord, failed_record
from roformermil.config import SLIDE_TIMEOUT
from roformermil.config.base import read_settings
from roformermil.deployment.model_card import ModelCard
from roformermil.deployment.prediction_table import (
    Row,
    check_names,
    prediction_fields,
    shift_fields,
    shuffled_fields,
    table_row,
    write_prediction_table,
)
from roformermil.deployment.slide_inputs import read_inputs, read_labels
from roformermil.errors import BagError, ConfigError, ModelError, SlideError, Status, StoreError
from roformermil.evaluation.shift import FILE as REFERENCE_FILE
from roformermil.evaluation.shift import Reference, read_reference
from roformermil.evaluation.temperature import scale
from roformermil.features.store import SlideFeatures, read_attributes
from roformermil.models.inference import Prediction, TrainedModel, average_predictions, load_model
from roformermil.runtime.files import file_sha256
from roformermil.runtime.memory import is_memory
from roformermil.runtime.progress import track
from roformermil.slides.slide_folder import is_feature_store

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PackagedModel:
    """An ensemble, one trained model per fold, and its card."""

    members: list[TrainedModel]
    card: ModelCard
    id: str  # start of the sha256 of its model.json
    reference: Reference  # what the training slides look like

    @property
    def classes(self) -> list[str]:
        return self.card.classes

    def predict(self, slide: SlideFeatures) -> tuple[Prediction, list[Prediction]]:
        """The ensemble's prediction of a slide, and each member's. Raises BagError for features that do not fit."""
        members = self._predict_members(slide, slide.grid)
        return average_predictions(members), members

    def _predict_members(self, slide: SlideFeatures, grid: np.ndarray) -> list[Prediction]:
        """Each member's prediction, its probabilities at its temperature where the package has one."""
        temperatures = self.card.decisions.temperatures
        predictions = [member.predict(slide.features, grid) for member in self.members]
        return [
            replace(one, probabilities=scale(one.probabilities, temperatures[name])) if name in temperatures else one
            for name, one in zip(self.card.members, predictions, strict=True)
        ]

    def predict_shuffled(self, slide: SlideFeatures, slide_id: str) -> Prediction:
        """The ensemble's prediction of a slide with the positions of its tiles shuffled: the mean over SHUFFLE_REPEATS repeats,
        which are the same for a slide of this name whenever it is predicted. Raises BagError as `predict`."""
        grids = [shuffle_positions(torch.from_numpy(slide.grid), slide_id, k).numpy() for k in range(SHUFFLE_REPEATS)]
        return average_predictions([member for grid in grids for member in self._predict_members(slide, grid)])

    def check_features(self, store: Path | str) -> None:
        """Raises ModelError for a store of another encoder or other weights, or with tiles of another size or scale."""
        attributes = read_attributes(Path(store))
        for name, expected in self.card.features.items():
            if attributes and attributes.get(name) != expected:
                given = _shorten(attributes.get(name))
                problem = f"its {name} is {given}, the model was trained on {_shorten(expected)}"
                raise ModelError(f"{store}: {problem}: predict the slide file instead")


def load_packaged_model(folder: Path | str) -> PackagedModel:
    """The model in a folder that `package` wrote. Raises ModelError for a missing file, or one that was changed since."""
    folder = Path(folder)
    if not (path := folder / "model.json").is_file():
        wanted = "a folder with model.json such as results/DATASET/ENCODER/MODEL/model"
        raise ModelError(f"{folder.absolute()}: is not a packaged model, {wanted}")
    try:
        card = read_settings(ModelCard, path.read_text(encoding="utf-8"), "model.json")
        for name, sha256 in {**card.members, REFERENCE_FILE: card.reference}.items():
            if not (folder / name).is_file():
                raise ModelError(f"{(folder / name).absolute()}: is missing: copy the model's whole folder again")
            if file_sha256(folder / name) != sha256:
                problem = "is not the file that was packaged (its sha256 differs)"
                raise ModelError(f"{folder / name}: {problem}: copy it again")
        members = [load_model(folder / name) for name in card.members]
    except (OSError, UnicodeDecodeError, ConfigError) as error:
        raise ModelError(f"{folder}: its packaged model cannot be read ({error}): copy it again") from error
    if any(member.classes != card.classes for member in members):
        raise ModelError(f"{folder}: model.json names other classes than its models were trained on: copy it again")
    return PackagedModel(members, card, file_sha256(path)[:12], read_reference(folder / REFERENCE_FILE))


def predict(
    slides: Sequence[Path | str],
    model: Path | str,
    out: Path | str,
    weights: Path | None = None,
    tissue_weights: Path | None = None,
    mpp: float | None = None,
    heatmaps: bool = True,
    timeout: float = SLIDE_TIMEOUT,
    progress: bool = True,
    shuffle_positions: bool = False,
    geojson: bool = False,
) -> list[Row]:
    """The rows of `predictions.csv`, one per slide, which is written into `out` with the heat maps of slide files. With labels, from
    a slide sheet, `deployment.evaluation` gives metrics.

    slides: slide files, feature stores (`.zarr`), folders and slide sheets, as in `read_inputs`; model: a folder that
    `package` wrote; weights, tissue_weights: weights of the encoder and of the tissue segmentation, where they are files of
    the lab that trained the model; mpp: um/px of slides that do not state a usable resolution; timeout: seconds that reading
    a slide may stall; shuffle_positions: also predict each slide with the positions of its tiles shuffled, in further
    columns. Has no effect, with a warning, on a model that uses no positions. geojson: write each slide file's tiles for
    QuPath without `heatmaps` too, which include them.

    A slide or store that cannot be used has a row with its status and message. Rows of other slides that this model
    predicted into `out` before are kept in `predictions.csv`. Raises ModelError for a damaged model, and for weights that
    are missing or not those of its training; SheetError for mistakes in a slide sheet; ConfigError for two slides of one
    name, also where `out` has the other, and where there is no slide.
    """
    out, packaged = Path(out), load_packaged_model(model)
    for caution in packaged.card.all_cautions:
        log.warning("the model's training: %s", caution)
    for sentence in packaged.card.decisions.sentences:
        log.info("%s", sentence)
    if shuffle_positions and not packaged.card.model.uses_position:
        shuffle_positions = False
        problem = "uses no tile positions, so shuffling them cannot change its predictions"
        log.warning("%s: %s: --shuffle-positions has no effect", packaged.card.name, problem)
    ready = {record.slide_id: record for record in read_inputs([Path(path) for path in slides], out)}
    check_names(out / "predictions.csv", list(ready.values()))
    stores = {name: record.path for name, record in ready.items() if is_feature_store(record.path)}
    files = [record for name, record in ready.items() if name not in stores]
    drawing = None
    if files:  # slide libraries, which stores do not need
        from roformermil.deployment.encode_slides import encode_slides
        from roformermil.deployment.pictures import Drawing

        own_weights = {"--weights": weights, "--tissue-weights": tissue_weights}
        encoded = encode_slides(files, packaged.card, out, own_weights, mpp, timeout, progress)
        ready |= {record.slide_id: record for record in encoded}
        drawing = Drawing(packaged.classes, out / "heatmaps", timeout, heatmaps, packaged.card.chance_warning)
    labels = read_labels([Path(path) for path in slides], packaged.classes)
    rows = []
    for name, record in track(ready.items(), desc="predict", unit="slide", on=progress):
        row = table_row(record, packaged.classes, packaged.id, shuffle_positions)
        try:
            if record.is_ok:
                store = stores.get(name, out / "features" / f"{name}.zarr")
                slide = _predict_slide(record, store, packaged, shuffle_positions)
                row |= slide.fields
                if drawing and name not in stores and (heatmaps or geojson):
                    row |= drawing.draw(record, slide.features, slide.prediction, slide.shuffled)
        except SlideError as error:
            failed = failed_record(record, "predict", error)
            row = table_row(failed, packaged.classes, packaged.id, shuffle_positions)
        rows.append(row | labels.get(name, {}))
    write_prediction_table(out / "predictions.csv", rows)
    return rows


@dataclass(frozen=True)
class PredictedSlide:
    """A slide's features, and what the ensemble predicts from them."""

    fields: Row  # of its row
    features: SlideFeatures
    prediction: Prediction
    shuffled: Prediction | None  # with the tiles' positions shuffled


def _predict_slide(record: SlideRecord, store: Path, packaged: PackagedModel, shuffle: bool) -> PredictedSlide:
    """shuffle: also with the tiles' positions shuffled. Raises SlideError."""
    try:
        packaged.check_features(store)
        slide = read_valid_store(store)
        prediction, members = packaged.predict(slide)
        fields = prediction_fields(record, prediction, members, packaged.classes, packaged.card.training_data.tiles)
        fields |= shift_fields(fields, slide.features, packaged.reference)
        fields["decision"] = packaged.card.decisions.decide(prediction.probabilities, packaged.classes)
        shuffled = packaged.predict_shuffled(slide, record.slide_id) if shuffle else None
        if shuffled:
            fields |= shuffled_fields(shuffled.probabilities, packaged.classes)
        return PredictedSlide(fields, slide, prediction, shuffled)
    except ModelError as error:
        raise SlideError(Status.WRONG_FEATURES, str(error)) from error
    except (StoreError, BagError) as error:
        raise SlideError(Status.UNREADABLE, str(error)) from error
    except (RuntimeError, MemoryError) as error:
        if not is_memory(error):
            raise
        message = "out of memory: a slide is predicted whole; use a machine or a GPU with more memory"
        raise SlideError(Status.OUT_OF_MEMORY, message) from error


def _shorten(value: Any) -> Any:
    """A value for a message: the start of a sha256."""
    return f"{value[:12]}..." if isinstance(value, str) and len(value) == 64 else value
