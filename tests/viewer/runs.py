"""Results to look at: real slides, segmented and tiled as the workflow does, with predictions and attention that are drawn."""

import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from roformermil.cohort.slide_table import SlideRecord, write_slides_csv
from roformermil.config import Tiles, Tissue
from roformermil.errors import Status
from roformermil.features.store import SlideFeatures
from roformermil.models.inference import Prediction
from roformermil.report.heatmaps.geojson import tiles_to_geojson
from roformermil.runtime.files import write_text
from roformermil.runtime.records import write_rows
from roformermil.slides.steps import segment_slides, tile_slides
from roformermil.slides.tile_table import read_tile_table
from roformermil.viewer.folders import find_views
from roformermil.viewer.server import ViewerServer
from tests.factories import SimulatedRun

CLASSES = ["benign", "malignant"]
TILES = Tiles(tile_px=128, target_mpp=1.0)
LOST = "no tissue found; look at the outline"


def prepare_slides(slides: Sequence[Path], folder: Path, out: Path) -> list[SlideRecord]:
    """Records of copies of these slides in `folder`, named s0, s1, ..., after segmenting and tiling them into `out`."""
    folder.mkdir(parents=True)
    paths = [Path(shutil.copy(slide, folder / f"s{k}{slide.suffix}")) for k, slide in enumerate(slides)]
    records = [SlideRecord(path.stem, path) for path in paths]
    records = segment_slides(records, out / "tissue", Tissue(method="otsu"), timeout=60, progress=False)
    return tile_slides(records, out / "tissue", out / "tiles", TILES, timeout=60, progress=False)


def draw_values(slide_id: str, dataset: Path, heatmaps: Path, peak: int = 0, classes: Sequence[str] = CLASSES) -> None:
    """Write a slide's .geojson: tile `peak` has most attention and the largest contribution to the second class."""
    table = read_tile_table(dataset / "tiles" / f"{slide_id}.npz")
    n = len(table.coords)
    rng = np.random.default_rng(1)
    contributions = rng.normal(0, 0.1, (n, len(classes)))
    attention = rng.uniform(1, 2, n)
    contributions[peak, 1], attention[peak] = 2.0, 40.0
    attention = np.tile((attention / attention.sum())[:, None], (1, len(classes)))
    features = SlideFeatures(np.zeros((n, 1)), table.coords, table.grid, {"base_px": table.spec.base_px})
    prediction = Prediction(np.full(len(classes), 1 / len(classes)), attention, contributions)
    write_text(heatmaps / f"{slide_id}.geojson", tiles_to_geojson(features, prediction, 1, list(classes)))


def make_run(folder: Path, slides: Sequence[Path]) -> Path:
    """A run with the data set `mine` of these slides and ten more, whose files are missing or which are lost, and two models,
    of which `abmil` has heat maps. Returns its results. Slide paths are relative to `folder`."""
    results = folder / "results"
    run = SimulatedRun(results)
    used = prepare_slides(slides, folder / "slides", results / "mine")
    names = [f"s{k}" for k in range(12)]
    records = [replace(record, path=record.path.relative_to(folder)) for record in used]
    records += [SlideRecord(name, Path("slides") / f"{name}.svs", tiles=9) for name in names[len(records) :]]
    folds = run.add_dataset("mine", CLASSES, slides=12, records=records)
    records[-1] = replace(records[-1], status=Status.EMPTY, message=LOST, stage="segment")
    write_slides_csv(results / "mine/slides.csv", records)
    for model in ("abmil", "dsmil"):
        run.add_model("mine", folds, CLASSES, model)
    for k, record in enumerate(used):
        draw_values(record.slide_id, results / "mine", results / "mine/net/abmil/heatmaps", peak=k + 1)
    rows = [{"dataset": "mine", "encoder": "net", "model": "abmil", "metric": "auroc"}]
    rows[0] |= {"mean": "0.55", "ci_low": "0.31", "ci_high": "0.79"}
    write_rows(results / "summary.csv", rows)
    cautions = {"": "mine: few slides", "dsmil": "mine, dsmil: never left its plateau"}
    rows = [{"dataset": "mine", "encoder": "net", "model": model, "caution": text} for model, text in cautions.items()]
    write_rows(results / "cautions.csv", rows)
    return results


def make_predictions(folder: Path, slides: Sequence[Path]) -> Path:
    """What `predict` leaves: one slide with a prediction, one without a file."""
    out = folder / "predictions"
    (record,) = prepare_slides(slides[:1], folder / "slides", out)
    draw_values(record.slide_id, out, out / "heatmaps")
    values = {"predicted": "benign", "probability_benign": 0.7, "probability_malignant": 0.3, "disagreement": 0.2}
    row = {
        "slide_id": "s0",
        "path": str(record.path),
        "status": "ok",
        "message": "",
        **values,
        "tiles": 9,
        "warnings": "",
    }
    lost = dict.fromkeys(row) | {
        "slide_id": "007",
        "path": "/nowhere/007.svs",
        "status": "missing",
        "message": "no file",
    }
    pd.DataFrame([row, lost]).to_csv(out / "predictions.csv", index=False)
    return out


@contextmanager
def serving(folder: Path) -> Iterator[ViewerServer]:
    """The viewer of these results."""
    server = ViewerServer(folder, find_views(folder))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
