"""From raw slide files to predictions and heat maps, through the same code as training."""

import csv
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from roformermil.bags.dataset import read_valid_store
from roformermil.cohort.slide_table import SlideRecord, failed_record, run_stage
from roformermil.config import Encoder, Tiles, Tissue
from roformermil.config.base import read_settings
from roformermil.deployment.model_card import ModelCard
from roformermil.errors import BagError, ConfigError, ModelError, SlideError, Status, StoreError
from roformermil.evaluation.metrics import PROBABILITY_PREFIX
from roformermil.features.store import SlideFeatures, read_attributes
from roformermil.models.inference import Prediction, TrainedModel, average_predictions, load_model
from roformermil.report.heatmaps.draw import write_heatmaps
from roformermil.runtime.files import file_sha256
from roformermil.runtime.progress import track
from roformermil.runtime.records import write_rows
from roformermil.runtime.subprocesses import run_in_subprocess
from roformermil.slides.steps import inspect_slide, segment_slide, slide_content, tile_slide
from roformermil.training.memory import EVALUATION, is_memory

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PackagedModel:
    """A packaged model: its members, and what their features must be."""

    members: list[TrainedModel]
    card: ModelCard

    @property
    def classes(self) -> list[str]:
        return self.card.classes

    def answer(self, bag: SlideFeatures) -> tuple[Prediction, list[Prediction]]:
        """The ensemble's answer for a slide's features, and its members'. Raises BagError for features that do not fit."""
        answers = [member.answer(bag.features, bag.grid) for member in self.members]
        return average_predictions(answers), answers

    def check(self, store: Path) -> None:
        """Raises ModelError when the features are of another encoder, or of tiles of another size or scale."""
        found = read_attributes(store)
        for name, wanted in self.card.features.items():
            if found and found.get(name) != wanted:
                raise ModelError(
                    f"{store}: its {name} is {_short(found.get(name))}, the model was trained on {_short(wanted)}"
                )


def _short(value: Any) -> Any:
    return f"{value[:12]}..." if isinstance(value, str) and len(value) == 64 else value  # a sha256


def load_packaged_model(folder: Path) -> PackagedModel:
    """A folder that `package` wrote. Raises ModelError when a file is missing or is not the one that was packaged."""
    if not (folder / "model.json").is_file():
        raise ModelError(
            f"{folder}: is no packaged model, a folder with model.json such as results/DATASET/ENCODER/MODEL/model"
        )
    try:
        card = read_settings(ModelCard, (folder / "model.json").read_text(encoding="utf-8"), "model.json")
        members = []
        for name, sha256 in card.members.items():
            if file_sha256(folder / name) != sha256:
                raise ModelError(
                    f"{folder / name}: is not the file that was packaged (its sha256 differs): copy it again"
                )
            members.append(load_model(folder / name))
    except (OSError, UnicodeDecodeError, ConfigError) as error:
        raise ModelError(f"{folder}: its packaged model cannot be read ({error}): copy it again") from error
    if any(member.classes != card.classes for member in members):
        raise ModelError(f"{folder}: model.json names other classes than its models were trained on: copy it again")
    return PackagedModel(members, card)


def predict_slides(
    slides: Sequence[Path], model: Path, out: Path, weights: Path | None = None, tissue_weights: Path | None = None,
    mpp: float | None = None, heatmaps: bool = True, timeout: float = 600, progress: bool = True,
) -> list[dict[str, Any]]:  # fmt: skip
    """Predict slides, or feature stores (`.zarr` that `embed` wrote); write `predictions.csv` and heat maps into `out`.

    weights, tissue_weights: files of the encoder's and of the tissue segmentation's weights, where those are a lab's own;
    mpp: um/px of slides that state none. Returns a row a slide: its status, the class decided for, a probability a class,
    how far the members' probabilities of it are apart, and why it is to be doubted, where that is seen. A slide or store that cannot
    be used, features of another encoder or scale among them, is a row that says why. Features that are there already
    are not made again; `predictions.csv` keeps the rows of other slides that this model predicted before. Raises ModelError for
    a damaged model, and for slides that its encoder, as it is given, is not the one for.
    """
    ensemble, mark = load_packaged_model(model), file_sha256(model / "model.json")[:12]
    for line in ensemble.card.cautions:
        log.warning("the model's training: %s", line)
    rows = _rows(slides)
    stores = {row.slide_id: Path(row.path) for row in rows if (Path(row.path) / "features").is_dir()}
    refused = {}
    for slide_id, store in stores.items():
        try:
            ensemble.check(store)
        except ModelError as error:
            refused[slide_id] = SlideError(Status.WRONG_FEATURES, str(error))
    rows = [failed_record(row, "predict", refused[row.slide_id]) if row.slide_id in refused else row for row in rows]
    raw = [_with_mpp(row, mpp, timeout) for row in rows if row.slide_id not in stores]
    given = {"encoder": weights, "tissue": tissue_weights}
    done = {row.slide_id: row for row in (_features(raw, ensemble.card, given, out, timeout, progress) if raw else [])}
    stores |= {row.slide_id: out / "features" / f"{row.slide_id}.zarr" for row in raw}
    rows = [done.get(row.slide_id, row) for row in rows]
    table = [
        _predict(row, stores.get(row.slide_id), ensemble, out / "heatmaps" if heatmaps and row.slide_id in done else None, timeout)
        for row in track(rows, desc="predict", unit="slide", on=progress)
    ]  # fmt: skip
    table = [row | {"model": mark} for row in table]
    write_rows(out / "predictions.csv", [*_others(out / "predictions.csv", table), *table])
    return table


def describe_predictions(rows: list[dict[str, Any]], out: Path) -> str:
    """A line a slide, then where the results are."""
    lines = []
    for row in rows:
        if row["status"] == Status.OK:
            warning = f"; {row['caution']}" if row["caution"] else ""
            lines.append(
                f"{row['slide_id']}: {row['decided']} ({row[PROBABILITY_PREFIX + row['decided']]:.3f}){warning}"
            )
        else:
            lines.append(f"{row['slide_id']}: {row['status']}: {row['message']}")
    drawn = sum(row["heatmap"] is not None for row in rows)
    lines.append(f"{out / 'predictions.csv'}" + (f", {drawn} heat maps in {out / 'heatmaps'}" if drawn else ""))
    return "\n".join(lines)


def _others(path: Path, table: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of slides that the same model predicted in earlier calls."""
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        was = list(csv.DictReader(file))
    now = {row["slide_id"] for row in table}
    return [
        row
        for row in was
        if row.keys() == table[0].keys() and row["model"] == table[0]["model"] and row["slide_id"] not in now
    ]


def _predict(
    row: SlideRecord, store: Path | None, ensemble: PackagedModel, heatmaps: Path | None, timeout: float
) -> dict[str, Any]:
    """A slide's row of the table, and its heat map."""
    names = [f"{PROBABILITY_PREFIX}{name}" for name in ensemble.classes]
    values: dict[str, Any] = dict.fromkeys(["decided", *names, "disagreement", "tiles", "caution", "heatmap"])
    if row.status == Status.OK and store:
        try:
            bag = read_valid_store(store)
            answer, answers = ensemble.answer(bag)
        except (StoreError, BagError) as error:
            row = failed_record(row, "predict", SlideError(Status.UNREADABLE, str(error)))
        except (RuntimeError, MemoryError) as error:
            if not is_memory(error):
                raise
            row = failed_record(row, "predict", SlideError(Status.OUT_OF_MEMORY, f"out of memory: {EVALUATION}"))
    if row.status == Status.OK:
        decided = int(answer.probabilities.argmax())
        spread = [float(one.probabilities[decided]) for one in answers]
        values |= {"decided": ensemble.classes[decided], **dict(zip(names, answer.probabilities.tolist(), strict=True))}
        values |= {"disagreement": max(spread) - min(spread), "tiles": len(answer.attention)}
        values["caution"] = _caution(ensemble, decided, answers)
        if heatmaps:
            try:
                write_heatmaps(row, bag, answer, ensemble.classes, heatmaps, timeout=timeout)
                values["heatmap"] = str(heatmaps / f"{row.slide_id}.jpg")
            except SlideError as error:  # its prediction stands
                log.warning("%s: no heat map: %s", row.slide_id, error)
    return {"slide_id": row.slide_id, "path": row.path, "status": row.status, "message": row.message, **values}


def _caution(ensemble: PackagedModel, decided: int, answers: list[Prediction]) -> str:
    """Why this prediction is to be doubted, as far as can be seen; empty where nothing is."""
    lines = []
    others = sum(int(one.probabilities.argmax()) != decided for one in answers)
    if others:
        lines.append(f"{others} of {len(answers)} members decide otherwise")
    trained, tiles = ensemble.card.trained_on.tiles, len(answers[0].attention)
    if not trained["least"] <= tiles <= trained["most"]:
        lines.append(f"{tiles:,} tiles, slides of its training had {trained['least']:,.0f} to {trained['most']:,.0f}")
    return "; ".join(lines)


def _features(
    rows: list[SlideRecord], card: ModelCard, given: dict[str, Path | None], out: Path, timeout: float, progress: bool
) -> list[SlideRecord]:
    """Segment, tile and encode as the model's training did. Raises ModelError when weights at hand are not the model's.

    given: weights by section of the settings, where they are a lab's own.
    """
    from roformermil.features.embed import Embedder

    if not card.takes_slides:
        raise ModelError(
            f"{card.name}: was trained on features that were imported; give it such (.zarr that `roformermil import` makes)"
        )
    settings = {
        name: card.settings.get(name, {}) | ({"weights": str(path)} if (path := given.get(name)) else {})
        for name in ("tissue", "tiles", "encoder")
    }
    tissue = read_settings(Tissue, settings["tissue"], "tissue")
    tiles = read_settings(Tiles, settings["tiles"], "tiles")
    encoder = read_settings(Encoder, settings["encoder"], "encoder")
    for option, path in (("--weights", encoder.weights_path), ("--tissue-weights", tissue.weights)):
        if path and not path.exists():
            raise ModelError(
                f"{card.name}: needs the weights {path.name}, a file of the lab that made it: give it by {option}"
            )
    embedder = Embedder(encoder, timeout, progress)
    if embedder.weights != (wanted := card.features["weights"]):
        raise ModelError(
            f"the encoder's weights are {embedder.weights}, the model was trained on {wanted}; see --weights"
        )
    content = partial(run_in_subprocess, slide_content, timeout=timeout)
    rows = run_stage(
        "segment", rows, lambda row: run_in_subprocess(segment_slide, row, out / "tissue", tissue, timeout=timeout),
        progress=progress, content_of=content,
    )  # fmt: skip
    rows = run_stage(
        "tile", rows, lambda row: run_in_subprocess(tile_slide, row, out / "tissue", out / "tiles", tiles, timeout=timeout),
        progress=progress,
    )  # fmt: skip
    return embedder.embed(rows, out / "tiles", out / "features")


def _with_mpp(row: SlideRecord, mpp: float | None, timeout: float) -> SlideRecord:
    """The row with this resolution where its file states none."""
    if mpp is None or row.status != Status.OK:
        return row
    try:
        run_in_subprocess(inspect_slide, row, timeout=timeout)
    except SlideError as error:  # what else is wrong with it, `segment` says
        return replace(row, sheet_mpp=mpp) if error.status == Status.NO_MPP else row
    return row


def _rows(slides: Sequence[Path]) -> list[SlideRecord]:
    """A row a file, named by it. Raises ModelError where two files have one name; a file that is not there is a row."""
    rows = []
    for path in slides:
        row = SlideRecord(path.stem, path)
        gone = SlideError(Status.MISSING, f"{path}: no such file")
        rows.append(row if path.exists() else failed_record(row, "predict", gone))
    names = [row.slide_id for row in rows]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ModelError(
            f"slides are named by their files, and {sorted(twice)[0]} stands twice: predict them into two folders"
        )
    return rows
