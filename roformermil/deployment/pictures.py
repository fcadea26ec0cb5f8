"""What `predict` draws of a slide: its heat maps, or only its tiles with their values for QuPath."""

import logging
from dataclasses import dataclass
from pathlib import Path

from roformermil.cohort.slide_table import SlideRecord
from roformermil.deployment.prediction_table import Row
from roformermil.errors import SlideError
from roformermil.features.store import SlideFeatures
from roformermil.models.inference import Prediction
from roformermil.report.heatmaps.draw import write_heatmaps
from roformermil.report.heatmaps.geojson import tiles_to_geojson
from roformermil.report.heatmaps.values import shown_class
from roformermil.runtime.files import write_text
from roformermil.runtime.subprocesses import preload, run_in_subprocess
from roformermil.slides.reader import SlideReader

log = logging.getLogger(__name__)
preload(__name__)


@dataclass(frozen=True)
class Drawing:
    """Where and how slides of one model are drawn."""

    classes: list[str]
    out: Path
    timeout: float  # seconds that reading a slide may stall
    heatmaps: bool  # without them, only .geojson
    warning: str  # why not to believe the model, "" for none

    def draw(
        self, record: SlideRecord, slide: SlideFeatures, prediction: Prediction, shuffled: Prediction | None
    ) -> Row:
        """What the files fill into a slide's row; nothing, with a warning, where the slide cannot be read.

        shuffled: the prediction with the tiles' positions shuffled, where there is one.
        """
        panel, tiles = (self.out / f"{record.slide_id}.{ending}" for ending in ("jpg", "geojson"))
        try:
            if not self.heatmaps:
                self._write_geojson(tiles, record, slide, prediction, shuffled)
                return {"geojson": str(tiles)}
            given = (record, slide, prediction, self.classes, self.out, self.timeout)
            write_heatmaps(*given, shuffled=shuffled, warning=self.warning)
            return {"heatmap": str(panel), "geojson": str(tiles)}
        except SlideError as error:  # the prediction is valid all the same
            log.warning("%s: no heat map: %s", record.slide_id, error)
            return {}

    def _write_geojson(
        self, path: Path, record: SlideRecord, slide: SlideFeatures, prediction: Prediction, shuffled: Prediction | None
    ) -> None:
        origin = run_in_subprocess(_read_origin, record, timeout=self.timeout)
        shown = shown_class(prediction)
        write_text(path, tiles_to_geojson(slide, prediction, shown, self.classes, origin, shuffled))


def _read_origin(record: SlideRecord) -> tuple[int, int]:
    """Where QuPath's image of a slide starts, level-0 pixels."""
    with SlideReader(record.path, record.mpp or record.sheet_mpp) as slide:
        return slide.origin
