"""A packaged model, and its predictions of slides."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from roformermil.bags.augmentation import SHUFFLE_REPEATS, shuffle_bag
from roformermil.bags.dataset import Bag, join_slides
from roformermil.cohort.covariates import Cells
from roformermil.cohort.slide_table import SlideRecord, failed_record
from roformermil.config import SLIDE_TIMEOUT
from roformermil.config.base import read_settings
from roformermil.deployment.bags import PredictBag, PredictedBags, PredictedSlide, group_by_patient
from roformermil.deployment.covariates import covariates_by_slide, read_slide_covariates
from roformermil.deployment.model_card import ModelCard
from roformermil.deployment.patients import write_patients
from roformermil.deployment.prediction_table import (
    Row,
    check_names,
    prediction_fields,
    shift_fields,
    shuffled_fields,
    table_row,
    write_prediction_table,
)
from roformermil.deployment.slide_inputs import read_inputs, read_labels, read_patients
from roformermil.errors import BagError, ConfigError, ModelError, SlideError, Status, StoreError
from roformermil.evaluation.shift import FILE as REFERENCE_FILE
from roformermil.evaluation.shift import Reference, read_reference
from roformermil.evaluation.temperature import scale
from roformermil.features.store import SlideFeatures, read_attributes
from roformermil.models.inference import Prediction, TrainedModel, average_predictions, load_model
from roformermil.runtime.files import file_sha256
from roformermil.runtime.memory import is_memory
from roformermil.runtime.progress import track
from roformermil.runtime.text import plural
from roformermil.slides.slide_folder import is_feature_store
from roformermil.tasks import Task

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

    @property
    def task(self) -> Task:
        """What it predicts, fitted to the training slides of the first member."""
        return self.members[0].task

    def predict(
        self, slides: SlideFeatures | Bag, covariates: Cells | None = None
    ) -> tuple[Prediction, list[Prediction]]:
        """The ensemble's prediction of a slide or of a bag of several, and each member's. covariates: as text by name, for a model
        that uses them. Raises BagError for features or covariates that do not fit."""
        bag = slides if isinstance(slides, Bag) else join_slides({"": slides})
        members = self._predict_members(bag, covariates)
        return average_predictions(members), members

    def _predict_members(self, bag: Bag, covariates: Cells | None) -> list[Prediction]:
        """Each member's prediction, its probabilities at its temperature where the package has one."""
        temperatures = self.card.decisions.temperatures
        predictions = [member.predict_bag(bag, covariates) for member in self.members]
        return [
            replace(one, values=scale(one.probabilities, temperatures[name])) if name in temperatures else one
            for name, one in zip(self.card.members, predictions, strict=True)
        ]

    def predict_shuffled(self, bag: Bag, covariates: Cells | None = None) -> Prediction:
        """The ensemble's prediction of a bag with the positions of each slide's tiles shuffled: the mean over SHUFFLE_REPEATS
        repeats, which are the same for a slide of this name whenever it is predicted. Raises BagError as `predict`."""
        bags = [shuffle_bag(bag, k) for k in range(SHUFFLE_REPEATS)]
        return average_predictions([member for one in bags for member in self._predict_members(one, covariates)])

    def predicts(self, shuffle: bool, covariates: Mapping[str, Cells]) -> PredictBag:
        """A function of a bag: the ensemble's prediction, each member's and, if wanted, that with shuffled positions. covariates:
        by slide, of those of its bag."""

        def predict_bag(bag: Bag) -> tuple[Prediction, list[Prediction], Prediction | None]:
            cells = covariates.get(bag.slide_ids[0])
            return (*self.predict(bag, cells), self.predict_shuffled(bag, cells) if shuffle else None)

        return predict_bag

    def check_covariates(self, covariates: Mapping[str, Cells]) -> None:
        """Raises BagError for covariates of slides that do not fit. What is missing is logged."""
        for coding in (member.covariates for member in self.members if member.covariates):
            coding.check(covariates)
        for one in self.card.covariates:
            warnings = Counter(one.warning(cells[one.name]) for cells in covariates.values())
            for warning, count in warnings.items():
                if warning:
                    log.warning("%s: %s", plural(count, "slide"), warning)

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
    if any((one.task.name, one.classes) != (card.task, card.classes) for one in members):
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
    """The rows of `predictions.csv`, one per slide, which is written into `out` with the heat maps of slide files, and
    `patients.csv`, where a slide sheet names several slides of a patient. With labels, from a slide sheet,
    `deployment.evaluation` gives metrics.

    slides: slide files, feature stores (`.zarr`), for a model that was trained on such feature files (`.h5`), folders and slide sheets, as in `read_inputs`; model: a folder that
    `package` wrote; weights, tissue_weights: weights of the encoder and of the tissue segmentation, where they are files of
    the lab that trained the model; mpp: um/px of slides that do not state a usable resolution; timeout: seconds that reading
    a slide may stall; shuffle_positions: also predict each slide with the positions of its tiles shuffled, in further
    columns. Has no effect, with a warning, on a model that uses no positions. geojson: write each slide file's tiles for
    QuPath without `heatmaps` too, which include them.

    Where the model's bags are patients, all slides of a patient in a slide sheet are predicted together, and the rows of these
    have the patient's prediction. A slide or store that cannot be used has a row with its status and message. Rows of other slides that this model
    predicted into `out` before are kept in `predictions.csv`. Raises ModelError for a damaged model, and for weights that
    are missing or not those of its training; SheetError for mistakes in a slide sheet; ConfigError for two slides of one
    name, also where `out` has the other, where there is no slide, and for slides without the covariates that the model uses, which
    a slide sheet gives; BagError for covariates that do not fit.
    """
    out, packaged = Path(out), load_packaged_model(model)
    for caution in packaged.card.all_cautions:
        log.warning("the model's training: %s", caution)
    for sentence in packaged.card.decisions.describe(packaged.card.unit):
        log.info("%s", sentence)
    if shuffle_positions and not packaged.card.model.uses_position:
        shuffle_positions = False
        problem = "uses no tile positions, so shuffling them cannot change its predictions"
        log.warning("%s: %s: --shuffle-positions has no effect", packaged.card.name, problem)
    paths = [Path(path) for path in slides]
    ready, patients = {record.slide_id: record for record in read_inputs(paths, out)}, read_patients(paths)
    check_names(out / "predictions.csv", list(ready.values()))
    bags = group_by_patient(list(ready), patients, packaged.card.unit)
    in_use = [name for name, record in ready.items() if record.is_ok]
    covariates = covariates_by_slide(bags, patients, read_slide_covariates(paths, in_use, packaged.card.covariates))
    packaged.check_covariates(covariates)
    labels = read_labels(paths, packaged.task)  # mistakes before hours of encoding
    stores = {name: record.path for name, record in ready.items() if is_feature_store(record.path)}
    files = [record for name, record in ready.items() if name not in stores]
    drawing = None
    if files:  # slide libraries, which stores do not need
        from roformermil.deployment.encode_slides import encode_slides
        from roformermil.deployment.pictures import Drawing

        own_weights = {"--weights": weights, "--tissue-weights": tissue_weights}
        encoded = encode_slides(files, packaged.card, out, own_weights, mpp, timeout, progress)
        ready |= {record.slide_id: record for record in encoded}
        if packaged.card.model.uses_features and packaged.card.takes_slides:
            names = list(packaged.task.mapped)
            drawing = Drawing(names, out / "heatmaps", timeout, heatmaps, packaged.card.chance_warning)
        elif not packaged.card.model.uses_features:
            log.warning("%s uses covariates alone, so there are no heat maps", packaged.card.name)
    usable = {name: stores.get(name, out / "features" / f"{name}.zarr") for name in ready if ready[name].is_ok}
    predicted = PredictedBags(bags, usable, packaged.check_features, packaged.predicts(shuffle_positions, covariates))
    by_name: dict[str, Row] = {}
    for name in track([name for bag in bags for name in bag], desc="predict", unit="slide", on=progress):
        record = ready[name]
        given = (packaged.task, packaged.id, shuffle_positions, patients.get(name, ""))
        row = table_row(record, *given)
        try:
            if record.is_ok:
                slide = _predict_slide(record, predicted, packaged)
                row |= _fields(record, slide, packaged, covariates.get(name, {}))
                if drawing and name not in stores and (heatmaps or geojson):
                    row |= drawing.draw(record, slide.features, slide.prediction, slide.shuffled)
        except SlideError as error:
            failed = failed_record(record, "predict", error)
            row = table_row(failed, *given)
        by_name[name] = row | labels.get(name, {})
    rows = [by_name[name] for name in ready]
    decisions = packaged.card.decisions if packaged.classes else None
    written = write_prediction_table(out / "predictions.csv", rows)
    write_patients(out, written, packaged.task, packaged.card.cut, decisions)
    return rows


def _predict_slide(record: SlideRecord, predicted: PredictedBags, packaged: PackagedModel) -> PredictedSlide:
    """Raises SlideError."""
    try:
        return predicted.read(record.slide_id)
    except ModelError as error:
        raise SlideError(Status.WRONG_FEATURES, str(error)) from error
    except (StoreError, BagError) as error:
        raise SlideError(Status.UNREADABLE, str(error)) from error
    except (RuntimeError, MemoryError) as error:
        if not is_memory(error):
            raise
        message = f"out of memory: a {packaged.card.unit} is predicted whole; use a machine or a GPU with more memory"
        raise SlideError(Status.OUT_OF_MEMORY, message) from error


def _fields(record: SlideRecord, slide: PredictedSlide, packaged: PackagedModel, covariates: Cells) -> Row:
    """What a slide's prediction fills into its row."""
    given = (packaged.task, packaged.card.training_data.tiles, slide.bag_tiles, packaged.card.unit)
    fields = prediction_fields(record, slide.prediction, slide.members, *given)
    gaps = [one.warning(covariates[one.name]) for one in packaged.card.covariates]
    fields["warnings"] = "; ".join(filter(None, [fields["warnings"], slide.warning, *gaps]))
    fields |= shift_fields(fields, slide.features.features, packaged.reference)
    if packaged.classes:
        fields["decision"] = packaged.card.decisions.decide(slide.prediction.probabilities, packaged.classes)
    if packaged.card.cut is not None:
        fields["group"] = "high" if slide.prediction.values[0] > packaged.card.cut else "low"
    return fields | (shuffled_fields(slide.shuffled.values, packaged.task) if slide.shuffled else {})


def _shorten(value: Any) -> Any:
    """A value for a message: the start of a sha256."""
    return f"{value[:12]}..." if isinstance(value, str) and len(value) == 64 else value
