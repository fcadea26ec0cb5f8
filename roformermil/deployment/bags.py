"""What `predict` predicts together: a slide, or where the model's bags are patients, all slides of a patient."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from roformermil.bags.dataset import Bag, join_slides, read_valid_store
from roformermil.config import Unit
from roformermil.errors import RoFormerMILError
from roformermil.features.store import SlideFeatures
from roformermil.models.inference import Prediction
from roformermil.runtime.text import plural

log = logging.getLogger(__name__)
PredictBag = Callable[[Bag], tuple[Prediction, list[Prediction], Prediction | None]]


@dataclass(frozen=True)
class PredictedSlide:
    """A slide's features, and what the ensemble predicts from them, or from all slides of the patient."""

    features: SlideFeatures
    prediction: Prediction  # of the bag, with the slide's own tiles
    members: list[Prediction]  # of the bag
    shuffled: Prediction | None  # as `prediction`, with the tiles' positions shuffled
    bag_tiles: int
    warning: str  # where other slides of the patient cannot be used, else ""


def group_by_patient(slides: Sequence[str], patients: Mapping[str, str], unit: Unit) -> list[list[str]]:
    """The slides of each bag. patients: patient_id by slide, of those that a slide sheet names; any other slide is a bag alone. Of
    a slide sheet without patients it is the slide's own id."""
    if unit == "slide":
        return [[name] for name in slides]
    bags: dict[tuple[str, bool], list[str]] = {}
    for name in slides:
        bags.setdefault((patients.get(name, name), name in patients), []).append(name)
    if all(patients.get(name, name) == name for name in slides):
        patients = {}
    if alone := [name for name in slides if name not in patients]:
        remedy = (
            "name the slides in a slide sheet with slide_id, patient_id, path to predict those of a patient together"
        )
        log.warning(
            "%s without a patient: each is predicted as a patient of its own; %s", plural(len(alone), "slide"), remedy
        )
    return list(bags.values())


class PredictedBags:
    """The predictions of a call of `predict`, a bag at a time, when one of its slides is asked for."""

    def __init__(
        self,
        bags: Sequence[Sequence[str]],
        stores: Mapping[str, Path],
        check: Callable[[Path], None],
        predict: PredictBag,
    ):
        """bags: slides of each; stores: of those slides that can be used so far; check: raises for a store of other features;
        predict: the prediction of a bag, that of each member and that with shuffled positions."""
        self.bag_of = {name: tuple(names) for names in bags for name in names}
        self.stores, self.check = stores, check
        self._read = lru_cache(maxsize=1)(self._read_bag)
        self._predict = lru_cache(maxsize=1)(lambda names: self._predict_bag(names, predict))

    def read(self, slide: str) -> PredictedSlide:
        """The prediction of a slide. Raises what reading its store or predicting its bag raises."""
        names = self.bag_of[slide]
        slides, errors = self._read(names)
        if slide in errors:
            raise errors[slide]
        predictions, members, shuffled, tiles = self._predict(names)
        lost = len(names) - len(slides)
        warning = f"{lost} of the patient's {len(names)} slides cannot be used" if lost else ""
        return PredictedSlide(slides[slide], predictions[slide], members, shuffled.get(slide), tiles, warning)

    def _read_bag(self, names: tuple[str, ...]) -> tuple[dict[str, SlideFeatures], dict[str, RoFormerMILError]]:
        """The slides of a bag, and why the others cannot be used."""
        slides: dict[str, SlideFeatures] = {}
        errors: dict[str, RoFormerMILError] = {}
        for name in names:
            if name not in self.stores:
                continue  # failed before
            try:
                self.check(self.stores[name])
                slides[name] = read_valid_store(self.stores[name])
            except RoFormerMILError as error:
                errors[name] = error
        return slides, errors

    def _predict_bag(
        self, names: tuple[str, ...], predict: PredictBag
    ) -> tuple[dict[str, Prediction], list[Prediction], dict[str, Prediction], int]:
        """By slide the prediction and that with shuffled positions; those of the members; the tiles of all slides."""
        bag = join_slides(self._read(names)[0])
        prediction, members, shuffled = predict(bag)
        by_slide = (
            dict(zip(bag.slide_ids, one.split(bag.slide_lengths), strict=True)) if one else {}
            for one in (prediction, shuffled)
        )
        predictions, shuffled_predictions = by_slide
        return predictions, members, shuffled_predictions, len(bag.grid)
