"""From raw slide files to predictions and heat maps, through the same code as training."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from roformermil.config import Encoder, Tiles, Tissue
from roformermil.errors import ModelError, Reason, SlideError, StoreError
from roformermil.features.store import read_attributes, read_store
from roformermil.files import file_sha256
from roformermil.heatmap.draw import draw_slide
from roformermil.isolation import isolated
from roformermil.models.trained import Answer, TrainedModel, average, load_model
from roformermil.progress import track
from roformermil.settings import read_settings
from roformermil.slides.stages import segment_slide, slide_content, tile_slide
from roformermil.status import OK, Status, failed, run_stage, write_rows

COLUMN = "probability_"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ensemble:
    """A packaged model: its members, and what their features must be."""

    members: list[TrainedModel]
    card: dict[str, Any]  # model.json

    @property
    def classes(self) -> list[str]:
        return self.card["classes"]

    def answer(self, store: Path) -> tuple[Answer, list[Answer]]:
        """The ensemble's answer for a slide's features, and its members'. Raises ModelError for features that it was not
        trained on, StoreError for none."""
        self.check(store)
        bag = read_store(store)
        answers = [member.answer(bag.features, bag.grid) for member in self.members]
        return average(answers), answers

    def check(self, store: Path) -> None:
        """Raises ModelError when the features are of another encoder, or of tiles of another size or scale."""
        found = read_attributes(store)
        if not found:
            raise StoreError(f"{store}: no whole feature store here")
        for name, wanted in self.card["features"].items():
            if found.get(name) != wanted:
                raise ModelError(f"{store}: its {name} is {found.get(name)}, the model was trained on {wanted}")


def load_ensemble(folder: Path) -> Ensemble:
    """A folder that `package` wrote. Raises ModelError when a file is missing or is not the one that was packaged."""
    try:
        card = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        for name, sha256 in card["members"].items():
            if file_sha256(folder / name) != sha256:
                raise ModelError(
                    f"{folder / name}: is not the file that was packaged (its sha256 differs): copy it again"
                )
    except (OSError, KeyError, ValueError) as error:
        raise ModelError(f"{folder}: no packaged model here ({error}); results/.../MODEL/model is one") from error
    return Ensemble([load_model(folder / name) for name in card["members"]], card)


def predict(
    slides: Sequence[Path], model: Path, out: Path, weights: Path | None = None, mpp: float | None = None,
    heatmaps: bool = True, timeout: float = 600, progress: bool = True,
) -> list[dict[str, Any]]:  # fmt: skip
    """Predict slides, or feature stores (`.zarr` that `embed` wrote); write `predictions.csv` and heat maps into `out`.

    weights: the encoder's, where they are not where the model's settings say; mpp: um/px of slides that state none.
    Returns a row a slide: its status, the class decided for, a probability a class, and how far the members disagree. A slide
    that cannot be read is a row that says why. What is done already is not done again.
    """
    ensemble = load_ensemble(model)
    rows = _rows(slides, mpp)
    stores = {row.slide_id: Path(row.path) for row in rows if _is_store(Path(row.path))}
    raw = [row for row in rows if row.slide_id not in stores]
    done = {row.slide_id: row for row in (_features(raw, ensemble, out, weights, timeout, progress) if raw else [])}
    stores |= {row.slide_id: out / "features" / f"{row.slide_id}.zarr" for row in raw}
    rows = [done.get(row.slide_id, row) for row in rows]
    drawn = out / "heatmaps"
    table = [
        _predict(row, stores[row.slide_id], ensemble, drawn if heatmaps and row.slide_id in done else None, timeout)
        for row in track(rows, desc="predict", unit="slide", on=progress)
    ]
    write_rows(out / "predictions.csv", table)
    return table


def _predict(row: Status, store: Path, ensemble: Ensemble, heatmaps: Path | None, timeout: float) -> dict[str, Any]:
    """A slide's row of the table, and its heat map."""
    names = [f"{COLUMN}{name}" for name in ensemble.classes]
    values: dict[str, Any] = dict.fromkeys(["decided", *names, "disagreement", "tiles"])
    if row.status == OK:
        answer, answers = ensemble.answer(store)
        decided = int(answer.probabilities.argmax())
        spread = [float(one.probabilities[decided]) for one in answers]
        values = {"decided": ensemble.classes[decided], **dict(zip(names, answer.probabilities.tolist(), strict=True))}
        values |= {"disagreement": max(spread) - min(spread), "tiles": len(answer.attention)}
        if heatmaps:
            try:
                draw_slide(row, store, answer, ensemble.classes, heatmaps, timeout=timeout)
            except SlideError as error:  # its prediction stands
                log.warning("%s: no heat map: %s", row.slide_id, error)
    return {"slide_id": row.slide_id, "path": row.path, "status": row.status, "reason": row.reason, **values}


def _features(
    rows: list[Status], ensemble: Ensemble, out: Path, weights: Path | None, timeout: float, progress: bool
) -> list[Status]:
    """Segment, tile and encode as the model's training did. Raises ModelError when the encoder at hand is another."""
    from roformermil.features.extract import Embedder  # torch's compiler, for slides alone

    settings = ensemble.card["settings"]
    tissue, tiles = (
        read_settings(Tissue, settings["tissue"], "tissue"),
        read_settings(Tiles, settings["tiles"], "tiles"),
    )
    given = settings["encoder"] | ({"weights": str(weights)} if weights else {})
    embedder = Embedder(read_settings(Encoder, given, "encoder"), timeout, progress)
    if embedder.weights != (wanted := ensemble.card["features"]["weights"]):
        raise ModelError(
            f"the encoder's weights are {embedder.weights}, the model was trained on {wanted}; see --weights"
        )
    content = partial(isolated, slide_content, timeout=timeout)
    rows = run_stage(
        "segment", rows, lambda row: isolated(segment_slide, row, out / "tissue", tissue, timeout=timeout),
        progress=progress, identify=content,
    )  # fmt: skip
    rows = run_stage(
        "tile", rows, lambda row: isolated(tile_slide, row, out / "tissue", out / "tiles", tiles, timeout=timeout),
        progress=progress,
    )  # fmt: skip
    return embedder.embed(rows, out / "tiles", out / "features")


def _rows(slides: Sequence[Path], mpp: float | None) -> list[Status]:
    """A row a file, named by it. Raises ModelError where two files have one name; a file that is not there is a row."""
    rows = []
    for path in slides:
        row = Status(path.stem, str(path), sheet_mpp=mpp)
        gone = SlideError(Reason.MISSING, f"{path}: no such file")
        rows.append(row if path.exists() else failed(row, "predict", gone))
    names = [row.slide_id for row in rows]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ModelError(
            f"slides are named by their files, and {sorted(twice)[0]} stands twice: predict them into two folders"
        )
    return rows


def _is_store(path: Path) -> bool:
    return path.suffix == ".zarr" and bool(read_attributes(path))
