"""A model is trained on slides with one informative tile each; its heat maps of a new slide must point at that tile."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from roformermil.bags.folds import FoldRow, read_folds, write_folds
from roformermil.cohort.slide_table import SlideRecord
from roformermil.cohort.synthetic import write_pyramid
from roformermil.config import Encoder, Model, Tiles, Tissue, Training
from roformermil.errors import ModelError
from roformermil.features.embed import Embedder
from roformermil.features.store import read_store
from roformermil.models.inference import Prediction, load_model
from roformermil.report.heatmaps.draw import OVERLAY_PX, describe_prediction, write_heatmaps
from roformermil.report.heatmaps.geojson import tiles_to_geojson
from roformermil.report.heatmaps.out_of_fold import write_out_of_fold_heatmaps
from roformermil.report.heatmaps.overlay import RED, Overlay, draw_overlays, rank_fractions, rasterize
from roformermil.report.heatmaps.panel import GAP, LINE, MAP_PX, STRIP_TILES, TILE_PX, draw_panel
from roformermil.slides.steps import segment_slides, tile_slides
from roformermil.slides.thumbnails import Thumbnails
from roformermil.training import TrainingJob, train_fold
from tests.factories import raises_slide_error

BASE_PX = 128  # slides have twice the resolution of tiles
ACROSS, DOWN = 7, 5  # tiles of a slide
STRIPED = (5, 2)  # grid position of the informative tile on s14
SIZE = (ACROSS * BASE_PX, DOWN * BASE_PX)  # of a slide, level-0 pixels
GRAIN_PX = 32
CLASSES = ["plain", "striped"]
TIMEOUT = 60.0


def draw_slide(path, striped):
    """Dark pink grains of 8 um, and one tile of dark blue stripes if `striped` is its grid position."""
    rng = np.random.default_rng(int(path.stem[1:]))
    grains = rng.normal((165, 85, 135), 12, (SIZE[1] // GRAIN_PX, SIZE[0] // GRAIN_PX, 3))
    image = grains.repeat(GRAIN_PX, axis=0).repeat(GRAIN_PX, axis=1).clip(0, 255).astype(np.uint8)
    if striped:
        x, y = striped[0] * BASE_PX, striped[1] * BASE_PX
        image[y : y + BASE_PX, x + np.flatnonzero(np.arange(BASE_PX) % 8 < 4)] = (60, 30, 120)
    write_pyramid(path, image, mpp=0.25)


@dataclass
class Cohort:
    """Slides s0 to s15, every second one striped, their features, and a model trained on all but the last two."""

    folder: Path
    records: list[SlideRecord]

    def features(self, slide_id):
        return read_store(self.folder / f"stores/{slide_id}.zarr")

    def predict(self, slide_id, fold=0):
        model, features = load_model(self.folder / f"models/fold_{fold}/model.safetensors"), self.features(slide_id)
        assert model.classes == CLASSES
        return model.predict(features.features, features.grid)

    def write_heatmaps(self, records, out, folds="folds.csv", classes=CLASSES):
        inputs = (self.folder / name for name in (folds, "models", "stores"))
        return write_out_of_fold_heatmaps(records, *inputs, classes, self.folder / out, TIMEOUT)

    def picture(self, name, out="heatmaps"):
        return np.asarray(Image.open(self.folder / out / name).convert("RGB")).astype(float)

    def tiles(self, slide_id, out="heatmaps"):
        return json.loads((self.folder / out / f"{slide_id}.geojson").read_text())["features"]

    def measurements(self, slide_id, name, out="heatmaps"):
        return [tile["properties"]["measurements"][name] for tile in self.tiles(slide_id, out)]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("cohort"), np.random.default_rng(0)
    records, rows = [], []
    for k in range(16):
        position = None if k % 2 else STRIPED if k == 14 else (int(rng.integers(ACROSS)), int(rng.integers(DOWN)))
        draw_slide(folder / f"s{k}.tif", position)
        records.append(SlideRecord(f"s{k}", folder / f"s{k}.tif"))
        part = "test" if k > 13 else "validation" if k > 11 else "train"
        rows.append(FoldRow(0, f"s{k}", f"s{k}", "plain" if k % 2 else "striped", part))
    masks, tables, tiles = folder / "tissue", folder / "tiles", Tiles(tile_px=64, target_mpp=0.5)
    records = segment_slides(records, masks, Tissue(), timeout=TIMEOUT, progress=False)
    records = tile_slides(records, masks, tables, tiles, timeout=TIMEOUT, progress=False)
    assert {record.tiles for record in records} == {ACROSS * DOWN}
    embedder = Embedder(Encoder(weights="random", compile="never", batch_size=35), TIMEOUT, progress=False)
    records = embedder.embed(records, tables, folder / "stores")
    write_folds(folder / "folds.csv", rows)
    schedule = {"epochs": 60, "epoch_steps": 1, "patience": 60, "scheduler_patience": 60, "learning_rate": 3e-3}
    train(folder, 0, rows, Training(normalize="none", **schedule), dropout=0.0)
    Cohort(folder, records).write_heatmaps(records[14:], "heatmaps")
    return Cohort(folder, records)


def train(folder, fold, rows, training, **settings):
    model = Model(name="abmil", hidden_dim=32, attention_dim=32, num_heads=1, **settings)
    job = TrainingJob("set", fold, rows, folder / "stores", CLASSES, model, training)
    train_fold(job, folder / f"models/fold_{fold}", progress=False)


def mean_by_tile(image):
    """The mean of an image over each tile: (DOWN, ACROSS)."""
    rows = np.array_split(image, DOWN)
    return np.array([[cell.mean() for cell in np.array_split(row, ACROSS, axis=1)] for row in rows])


def position_of_maximum(image):
    return divmod(mean_by_tile(image).argmax(), ACROSS)[::-1]  # x, y


def test_the_informative_tile_is_at_its_pixels_in_qupath(cohort):
    best = cohort.tiles("s14")[np.argmax(cohort.measurements("s14", "contribution to striped"))]
    ring, corner = np.array(best["geometry"]["coordinates"][0]), np.array(STRIPED) * BASE_PX
    assert (ring.min(axis=0) == corner).all() and (ring.max(axis=0) == corner + BASE_PX).all()
    assert best["properties"]["objectType"] == "tile" and len(cohort.tiles("s14")) == ACROSS * DOWN


@pytest.mark.parametrize(("slide_id", "predicted"), [("s14", 1), ("s15", 0)])
def test_measurements_are_contributions_to_both_classes_and_attention_for_the_second(cohort, slide_id, predicted):
    prediction = cohort.predict(slide_id)
    assert prediction.probabilities.argmax() == predicted
    assert cohort.measurements(slide_id, "attention") == pytest.approx(prediction.attention[:, 1].tolist())
    for c, name in enumerate(CLASSES):
        assert cohort.measurements(slide_id, f"contribution to {name}") == prediction.margins[:, c].tolist()


def test_each_slide_is_drawn_by_the_fold_that_tested_it_and_one_that_none_tests_is_not(cohort):
    """A second fold with a model of its own trained on the first one's test slides, and tests s0 and s1, not s4."""
    rows, folder = read_folds(cohort.folder / "folds.csv"), cohort.folder
    parts = ["test"] * 2 + ["train"] * 10 + ["validation"] * 2 + ["train"] * 2
    second = [replace(row, fold=1, part=part) for row, part in zip(rows, parts, strict=True)]
    write_folds(folder / "two_folds.csv", [*rows, *second])
    train(folder, 1, second, Training(epochs=1))
    cohort.write_heatmaps([cohort.records[k] for k in (0, 4, 14)], "two", folds="two_folds.csv")
    for slide_id, fold in (("s0", 1), ("s14", 0)):
        expected = cohort.predict(slide_id, fold=fold).margins[:, 1].tolist()
        assert cohort.measurements(slide_id, "contribution to striped", "two") == pytest.approx(expected)
    assert {path.name.split(".")[0] for path in (folder / "two").iterdir()} == {"s0", "s14"}


def test_a_model_of_the_classes_in_another_order_is_refused(cohort):
    with pytest.raises(ModelError, match="was trained on the classes plain, striped, not on striped, plain"):
        cohort.write_heatmaps(cohort.records[14:], "swapped", classes=CLASSES[::-1])


def test_the_overlay_of_contributions_is_red_at_the_informative_tile_only(cohort):
    image = cohort.picture("s14.contribution.png")
    assert image.shape[:2] == (OVERLAY_PX * DOWN // ACROSS, OVERLAY_PX), "the whole slide, nothing else"
    red, side, edge = image[..., 0] - image[..., 1], OVERLAY_PX // ACROSS, 4
    assert position_of_maximum(red) == STRIPED
    x, y = STRIPED[0] * side, STRIPED[1] * side
    assert red[y : y + side, x : x + edge].mean() > red[y : y + side, x - edge : x].mean() + 20
    assert red[y : y + edge, x : x + side].mean() > red[y - edge : y, x : x + side].mean() + 20


def test_the_overlay_of_attention_is_brighter_for_higher_ranks(cohort):
    grid, ranks = cohort.features("s14").grid, rank_fractions(cohort.predict("s14").attention[:, 1])
    brightness = mean_by_tile(cohort.picture("s14.attention.png").mean(axis=2))[grid[:, 1], grid[:, 0]]
    plain = (grid != STRIPED).any(axis=1)  # the striped tile is darker
    assert np.corrcoef(ranks[plain], brightness[plain])[0, 1] > 0.95


def test_the_panel_shows_the_informative_tile_in_red_and_first_in_the_strip(cohort):
    panel = cohort.picture("s14.jpg")
    top, left, height = GAP + 2 * LINE, GAP + 2 * (MAP_PX + GAP), MAP_PX * DOWN // ACROSS
    contributions = panel[top : top + height, left : left + MAP_PX]
    assert position_of_maximum(contributions[..., 0] - contributions[..., 1]) == STRIPED
    strips = top + height + LINE + GAP + LINE  # below the maps, their scales and a line of text
    places = range(GAP, GAP + 2 * STRIP_TILES * (TILE_PX + GAP), TILE_PX + GAP)
    tiles = [panel[strips + 2 : strips + TILE_PX - 2, x + 2 : x + TILE_PX - 2] for x in places]
    assert np.argmax([(tile[..., 2] - tile[..., 0]).mean() for tile in tiles]) == 0


@pytest.mark.parametrize(("label", "is_wrong"), [("plain", True), ("striped", False), ("", False)])
def test_a_wrong_prediction_has_a_red_title(cohort, label, is_wrong):
    record, out = cohort.records[14], cohort.folder / f"label_{label}"
    write_heatmaps(record, cohort.features("s14"), cohort.predict("s14"), CLASSES, out, TIMEOUT, label)
    title = cohort.picture("s14.jpg", out.name)[GAP : GAP + LINE]
    assert ((title[..., 0] - title[..., 1] > 100).sum() > 100) == is_wrong


@pytest.mark.parametrize("is_wrong", [True, False])
def test_long_names_are_not_cut_and_the_title_is_red_if_the_prediction_is_wrong(is_wrong):
    """A slide's name as TCGA's are."""
    narrow, ends = np.full((560, 60, 3), 255, np.uint8), ("least", "most (1,234.5 times the mean)")
    title = "attention for a class with a long name"
    overlay = Overlay("attention", title, Image.fromarray(narrow), *ends, np.zeros((256, 3)))
    title = "TCGA-46-6026-01Z-00-DX1.e0248ea6-ae04-4960-95a8-f39b8e168a38: adenocarcinoma, probability 0.980; labelled "
    title += "squamous. The tiles lower the odds of squamous 2,500 times below the model's baseline"
    drawn = np.asarray(draw_panel(title, is_wrong, narrow, [overlay, overlay], [])).astype(int)
    assert not (drawn[:, -3:] < 128).any(), "ink at the edge"
    is_red = (np.abs(drawn - RED).max(axis=2) < 5).any(axis=1)
    assert is_red[:LINE].any() == is_wrong and not is_red[2 * LINE :].any()


def predicted(probabilities, contributions):
    return Prediction(np.array(probabilities), np.full_like(contributions, 0.5), np.array(contributions))


def test_the_title_tells_prediction_label_and_how_far_the_tiles_move_the_odds():
    two, baseline = ["benign", "malignant"], "the model's baseline"
    up = predicted([0.4, 0.6], [[-0.2, 0.2], [-0.25, 0.266]])  # log-odds of 0.916
    sentence = f"The tiles raise the odds of malignant 2.5 times over {baseline}"
    assert describe_prediction(up, 1, two, "benign") == f"malignant, probability 0.600; labelled benign. {sentence}"
    down = describe_prediction(predicted([0.6, 0.4], [[3.5, -3.6]]), 1, two)
    assert down == f"benign, probability 0.600. The tiles lower the odds of malignant 1,200 times below {baseline}"
    far = describe_prediction(predicted([0, 1], [[-500, 500]]), 1, two)
    assert "raise the odds of malignant more than 1,000,000 times over" in far
    three = describe_prediction(predicted([0.1, 0.1, 0.8], [[0, 0, 1]]), 2, ["a", "b", "c"])
    assert three.endswith(f"The tiles raise the odds of c against the other classes 2.7 times over {baseline}")
    assert describe_prediction(replace(up, contributions=None), 1, two) == "malignant, probability 0.600"


def test_a_slide_whose_tiles_contribute_little_is_pale(cohort):
    """Red on white, in full only where the tiles could move the log-odds by 1."""
    thumbnails, n = Thumbnails(np.full((50, 70, 3), 255, np.uint8), SIZE, (0, 0), []), ACROSS * DOWN
    redness = []
    for total in (0.01, 1, 5):
        prediction = predicted([0.5, 0.5], np.full((n, 2), [-total / n / 2, total / n / 2]))
        _, overlay = draw_overlays(thumbnails, cohort.features("s14"), prediction, 1, CLASSES)
        pixels = np.asarray(overlay.picture).astype(float)
        redness.append((pixels[..., 0] - pixels[..., 1]).mean())
    assert redness[0] < 0.05 * redness[1] and redness[1] == pytest.approx(redness[2], rel=0.02)


def test_each_value_is_drawn_over_its_tile(cohort):
    store = cohort.features("s14")
    image = rasterize(np.arange(len(store.grid)), store, SIZE, (DOWN * 10, ACROSS * 10))
    for value, (x, y) in enumerate(store.grid * 10):
        assert (image[y : y + 10, x : x + 10] == value).all()


def test_ranks_are_fractions_and_equal_values_share_one():
    assert rank_fractions(np.array([3.0, 1.0, 2.0])).tolist() == [1, 0, 0.5]
    assert rank_fractions(np.array([1.0, 1.0])).tolist() == [0.5, 0.5]


def test_a_slide_whose_file_changed_is_refused(cohort, tmp_path):
    draw_slide(tmp_path / "s99.tif", None)
    record = SlideRecord("s14", tmp_path / "s99.tif")
    with raises_slide_error("changed"):
        write_heatmaps(record, cohort.features("s14"), cohort.predict("s14"), CLASSES, tmp_path, TIMEOUT)


def test_tiles_for_qupath_count_from_the_origin_of_its_image(cohort):
    store, prediction = cohort.features("s14"), cohort.predict("s14")
    texts = (tiles_to_geojson(store, prediction, 1, CLASSES, origin) for origin in ((0, 0), (300, 200)))
    whole, moved = (np.array([tile["geometry"]["coordinates"] for tile in json.loads(t)["features"]]) for t in texts)
    assert (whole - moved == (300, 200)).all()
