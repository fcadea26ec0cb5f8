"""Slides whose only informative tile is known: a model is trained on such slides, and its heat map of a new one, drawn from the
real pixels, must point at that tile's place."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from roformermil.bags.folds import FoldRow, read_all_folds, write_folds
from roformermil.cohort.slide_table import SlideRecord, run_stage
from roformermil.cohort.synthetic import write_pyramid
from roformermil.config import Encoder, Model, Tiles, Tissue, Training
from roformermil.errors import SlideError
from roformermil.features.embed import Embedder
from roformermil.features.store import read_store
from roformermil.models.inference import Prediction, load_model
from roformermil.report.heatmaps.draw import SIDE, write_heatmaps
from roformermil.report.heatmaps.geojson import tiles_to_geojson
from roformermil.report.heatmaps.out_of_fold import write_out_of_fold_heatmaps
from roformermil.report.heatmaps.overlay import overlays, ranks, raster
from roformermil.report.heatmaps.panel import GAP, LINE, STRIP
from roformermil.report.heatmaps.panel import SIDE as PANEL
from roformermil.report.heatmaps.panel import TILE as SIDE_OF_TILE
from roformermil.slides.steps import segment_slide, tile_slide
from roformermil.slides.thumbnails import Thumbnails
from roformermil.training import TrainingJob, train_fold

TILE, STEP = 64, 128  # pixels of a tile, and of its place on the slide: slides have twice the resolution of tiles
ACROSS, DOWN = 7, 5  # tiles of a slide
MARK = (5, 2)  # grid position of the informative tile on the slide that is looked at


def draw(path, mark):
    """Pink noise, and where there is a mark one tile of dark blue stripes."""
    rng = np.random.default_rng(int(path.stem[1:]))
    image = rng.normal((215, 150, 190), 12, (DOWN * STEP, ACROSS * STEP, 3)).clip(0, 255).astype(np.uint8)
    if mark:
        x, y = mark[0] * STEP, mark[1] * STEP
        for k in range(4):
            image[y : y + STEP, x + k : x + STEP : 8] = (60, 30, 120)
    write_pyramid(path, image, mpp=0.25)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with 16 slides, half of them marked somewhere, their features, and a model trained on all but the last two."""
    folder = tmp_path_factory.mktemp("marked")
    rng = np.random.default_rng(0)
    rows, parts = [], []
    for k in range(16):
        mark = None if k % 2 else MARK if k == 14 else (int(rng.integers(ACROSS)), int(rng.integers(DOWN)))
        draw(folder / f"s{k}.tif", mark)
        rows.append(SlideRecord(f"s{k}", str(folder / f"s{k}.tif")))
        parts.append("test" if k > 13 else "validation" if k > 11 else "train")
    tiles = Tiles(tile_px=TILE, target_mpp=0.5)
    rows = run_stage(
        "segment", rows, lambda row: segment_slide(row, folder / "tissue", Tissue(threshold=2)), progress=False
    )
    rows = run_stage(
        "tile", rows, lambda row: tile_slide(row, folder / "tissue", folder / "tiles", tiles), progress=False
    )
    assert {row.tiles for row in rows} == {ACROSS * DOWN}
    embedder = Embedder(Encoder(weights="random", compile="never", batch_size=35), progress=False)
    rows = embedder.embed(rows, folder / "tiles", folder / "stores")
    folds = [
        FoldRow(0, row.slide_id, row.slide_id, ("marked", "plain")[k % 2], part)
        for k, (row, part) in enumerate(zip(rows, parts, strict=True))
    ]
    write_folds(folder / "folds.csv", folds)
    job = TrainingJob(
        "set", 0, folds, folder / "stores", ["plain", "marked"], Model(name="abmil", hidden_dim=32, attention_dim=32, num_heads=1, dropout=0.0),
        Training(epochs=60, patience=60, scheduler_patience=60, learning_rate=3e-3),
    )  # fmt: skip
    train_fold(job, folder / "models/fold_0", progress=False)
    write_out_of_fold_heatmaps(
        rows[14:], folder / "folds.csv", folder / "models", folder / "stores", folder / "heatmaps", progress=False
    )
    return folder, rows


def test_the_tile_is_found_at_its_pixel(made):
    folder, _ = made
    features = json.loads((folder / "heatmaps/s14.geojson").read_text())["features"]
    name = "contribution to marked"
    best = max(features, key=lambda tile: tile["properties"]["measurements"][name])
    ring = np.array(best["geometry"]["coordinates"][0])
    assert ring.min(axis=0).tolist() == [MARK[0] * STEP, MARK[1] * STEP]
    assert ring.max(axis=0).tolist() == [(MARK[0] + 1) * STEP, (MARK[1] + 1) * STEP]
    assert best["properties"]["objectType"] == "tile"
    assert len(features) == ACROSS * DOWN


def test_contributions_to_the_other_class_are_there_too(made):
    folder, _ = made
    features = json.loads((folder / "heatmaps/s14.geojson").read_text())["features"]
    model, store = load_model(folder / "models/fold_0/model.safetensors"), read_store(folder / "stores/s14.zarr")
    parts = model.answer(store.features, store.grid).margins
    for c, name in enumerate(model.classes):
        measured = [tile["properties"]["measurements"][f"contribution to {name}"] for tile in features]
        assert measured == parts[:, c].tolist()


def by_tile(image):
    """Means of an image over each tile's place: (DOWN, ACROSS)."""
    rows = np.array_split(image, DOWN)
    return np.array([[cell.mean() for cell in np.array_split(row, ACROSS, axis=1)] for row in rows])


def overlay(folder, name):
    with Image.open(folder / f"heatmaps/s14.{name}.png") as image:
        assert image.size == (SIDE, SIDE * DOWN // ACROSS), "the whole slide, nothing else"
        return np.asarray(image.convert("RGB")).astype(float)


def test_each_slide_is_drawn_by_the_fold_that_tested_it(made, tmp_path):
    """A second fold, which trained on the first one's test slides and tests two others, with a model of its own."""
    folder, rows = made
    second = [("test", "train")[k % 14 > 1] if k < 12 else "train" if k > 13 else "validation" for k in range(16)]
    folds = read_all_folds(folder / "folds.csv")
    folds += [replace(row, fold=1, part=part) for row, part in zip(folds, second, strict=True)]
    write_folds(tmp_path / "folds.csv", folds)
    shutil.copytree(folder / "models/fold_0", tmp_path / "models/fold_0")
    job = TrainingJob(
        "set", 1, folds[16:], folder / "stores", ["plain", "marked"], Model(name="abmil", hidden_dim=32, attention_dim=32, num_heads=1), Training(epochs=1),
    )  # fmt: skip
    train_fold(job, tmp_path / "models/fold_1", progress=False)
    chosen = [rows[0], rows[14]]
    write_out_of_fold_heatmaps(
        chosen, tmp_path / "folds.csv", tmp_path / "models", folder / "stores", tmp_path / "out", progress=False
    )
    for row, fold in zip(chosen, (1, 0), strict=True):
        model = load_model(tmp_path / f"models/fold_{fold}/model.safetensors")
        store = read_store(folder / f"stores/{row.slide_id}.zarr")
        tiles = json.loads((tmp_path / f"out/{row.slide_id}.geojson").read_text())["features"]
        found = [tile["properties"]["measurements"]["contribution to marked"] for tile in tiles]
        assert found == pytest.approx(model.answer(store.features, store.grid).margins[:, 1].tolist())
    write_out_of_fold_heatmaps(
        rows[4:5], tmp_path / "folds.csv", tmp_path / "models", folder / "stores", tmp_path / "none", progress=False
    )
    assert not (tmp_path / "none").exists(), "no fold tests it"


def test_the_overlay_of_contributions_is_red_there_and_not_beside(made):
    view = overlay(made[0], "contribution")
    red, side = view[..., 0] - view[..., 1], SIDE // ACROSS
    assert np.unravel_index(by_tile(red).argmax(), (DOWN, ACROSS)) == (MARK[1], MARK[0])
    x, y, edge = MARK[0] * side, MARK[1] * side, 4
    assert red[y : y + side, x : x + edge].mean() > red[y : y + side, x - edge : x].mean() + 20
    assert red[y : y + edge, x : x + side].mean() > red[y - edge : y, x : x + side].mean() + 20


def test_the_overlay_of_attention_is_as_bright_as_ranks_are_high(made):
    folder, _ = made
    model, store = load_model(folder / "models/fold_0/model.safetensors"), read_store(folder / "stores/s14.zarr")
    rank = ranks(model.answer(store.features, store.grid).attention[:, 1])
    bright = by_tile(overlay(folder, "attention").mean(axis=2))[store.grid[:, 1], store.grid[:, 0]]
    plain = np.array([tuple(place) != MARK for place in store.grid])  # the mark is darker tissue
    assert np.corrcoef(rank[plain], bright[plain])[0, 1] > 0.95


def test_the_sheet_is_reddest_there(made):
    folder, _ = made
    with Image.open(folder / "heatmaps/s14.jpg") as image:
        sheet = np.asarray(image.convert("RGB")).astype(float)
    model, store = load_model(folder / "models/fold_0/model.safetensors"), read_store(folder / "stores/s14.zarr")
    answer = model.answer(store.features, store.grid)
    assert answer.probabilities.argmax() == 1
    parts = answer.margins[:, 1]
    assert tuple(store.grid[parts.argmax()]) == MARK
    top, left, height = 2 * LINE, GAP + 2 * (PANEL + GAP), PANEL * DOWN // ACROSS
    panel = sheet[top : top + height, left : left + PANEL]
    red = panel[..., 0] - panel[..., 1]
    assert np.unravel_index(by_tile(red).argmax(), (DOWN, ACROSS)) == (MARK[1], MARK[0])
    strips = top + height + LINE + GAP + LINE  # below the views, their scales and a line of text
    places = range(GAP, GAP + 2 * STRIP * (SIDE_OF_TILE + GAP), SIDE_OF_TILE + GAP)
    tiles = [sheet[strips + 2 : strips + SIDE_OF_TILE - 2, x + 2 : x + SIDE_OF_TILE - 2] for x in places]
    blueness = [float((tile[..., 2] - tile[..., 0]).mean()) for tile in tiles]
    assert np.argmax(blueness) == 0, "the first tile of the strip is the one with the stripes"


def test_a_slide_whose_tiles_say_little_is_pale(made):
    """Red on white glass: as far as the scale says, and full colour only where tiles could move the log-odds by 1."""
    folder, _ = made
    store, views = (
        read_store(folder / "stores/s14.zarr"),
        Thumbnails(np.full((50, 70, 3), 255, np.uint8), (ACROSS * STEP, DOWN * STEP), (0, 0), []),
    )
    n = len(store.grid)
    attention = np.full((n, 2), 1 / n)
    redness = []
    for total in (0.01, 1, 5):
        parts = np.stack([np.full(n, -total / n / 2), np.full(n, total / n / 2)], axis=1)
        _, one = overlays(views, store, Prediction(np.array([0.5, 0.5]), attention, parts), 1, ["a", "b"])
        pixels = np.asarray(one.picture).astype(float)
        redness.append((pixels[..., 0] - pixels[..., 1]).mean())
    assert redness[0] < 0.05 * redness[1] and redness[1] == pytest.approx(redness[2], rel=0.02)


def test_red_means_the_second_class_whatever_is_decided(made):
    folder, _ = made
    for name, probability in (("s14", "marked"), ("s15", "plain")):
        tiles = json.loads((folder / f"heatmaps/{name}.geojson").read_text())["features"]
        model, store = (
            load_model(folder / "models/fold_0/model.safetensors"),
            read_store(folder / f"stores/{name}.zarr"),
        )
        answer = model.answer(store.features, store.grid)
        assert model.classes[int(answer.probabilities.argmax())] == probability
        measured = [tile["properties"]["measurements"]["attention"] for tile in tiles]
        assert measured == pytest.approx(answer.attention[:, 1].tolist())


def test_a_raster_puts_each_value_over_its_tile(made):
    folder, _ = made
    store = read_store(folder / "stores/s14.zarr")
    size = (ACROSS * STEP, DOWN * STEP)
    image = raster(np.arange(len(store.grid)), store, size, (DOWN * 10, ACROSS * 10))
    for (x, y), value in zip(store.grid, range(len(store.grid)), strict=True):
        assert (image[y * 10 : y * 10 + 10, x * 10 : x * 10 + 10] == value).all()


def test_ranks_are_fractions_and_ties_share_one():
    assert ranks(np.array([3.0, 1.0, 2.0])).tolist() == [1, 0, 0.5]
    assert ranks(np.array([1.0, 1.0])).tolist() == [0.5, 0.5]


def test_another_file_under_the_slides_name_is_no_place_for_its_map(made, tmp_path):
    folder, _ = made
    model, store = load_model(folder / "models/fold_0/model.safetensors"), read_store(folder / "stores/s14.zarr")
    draw(tmp_path / "s99.tif", None)
    row = SlideRecord("s14", str(tmp_path / "s99.tif"))
    with pytest.raises(SlideError) as error:
        write_heatmaps(row, store, model.answer(store.features, store.grid), model.classes, tmp_path)
    assert error.value.status == "changed"


def test_tiles_for_qupath_count_from_where_its_image_begins(made):
    folder, _ = made
    model, store = load_model(folder / "models/fold_0/model.safetensors"), read_store(folder / "stores/s14.zarr")
    answer = model.answer(store.features, store.grid)
    plain, moved = (
        np.array([f["geometry"]["coordinates"] for f in json.loads(text)["features"]])
        for text in (tiles_to_geojson(store, answer, 1, model.classes, origin) for origin in ((0, 0), (300, 200)))
    )
    assert (plain - moved == (300, 200)).all()
