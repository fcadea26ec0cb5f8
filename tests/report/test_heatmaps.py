"""A model is trained on slides with one informative tile each; its heat maps of a new slide must point at that tile."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from roformermil.bags.dataset import join_slides
from roformermil.bags.folds import FoldRow, read_folds, write_folds
from roformermil.cohort.slide_table import SlideRecord
from roformermil.cohort.synthetic import write_pyramid
from roformermil.config import Encoder, Model, Tiles, Tissue, Training
from roformermil.errors import ModelError
from roformermil.features.embed import Embedder
from roformermil.features.store import read_store
from roformermil.models.inference import Prediction, load_model
from roformermil.report.heatmaps.draw import OVERLAY_PX, _choose_tiles, write_heatmaps
from roformermil.report.heatmaps.geojson import rank_fractions, tiles_to_geojson
from roformermil.report.heatmaps.out_of_fold import write_out_of_fold_heatmaps
from roformermil.report.heatmaps.overlay import draw_overlays, rasterize
from roformermil.report.heatmaps.panel import AMBER, draw_panel
from roformermil.report.heatmaps.sentences import describe_maps
from roformermil.slides.steps import segment_slides, tile_slides
from roformermil.slides.thumbnails import Thumbnails
from roformermil.tasks import make_task
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
    attention = prediction.attention[:, 1] if predicted else np.full(ACROSS * DOWN, 1 / (ACROSS * DOWN))  # even on s15
    assert cohort.measurements(slide_id, "attention") == pytest.approx(attention.tolist())
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


def test_the_overlay_of_attention_is_greener_for_higher_attention(cohort):
    thumbnails, store = Thumbnails(np.full((50, 70, 3), 255, np.uint8), SIZE, (0, 0), []), cohort.features("s14")
    attention = np.random.default_rng(0).lognormal(0, 1, len(store.grid))[:, None].repeat(2, axis=1)
    prediction = Prediction(np.array([0.5, 0.5]), attention / attention.sum(axis=0), None)
    (overlay,) = draw_overlays(thumbnails, store, prediction, 1, CLASSES)
    image = np.asarray(overlay.picture).astype(float)
    green = mean_by_tile(image[..., 1] - image[..., 0])[store.grid[:, 1], store.grid[:, 0]]
    assert np.corrcoef(np.log(attention[:, 1]), green)[0, 1] > 0.99


def test_a_wrong_prediction_is_called_wrong_on_its_panel(cohort, panel_texts):
    record, features, prediction = cohort.records[14], cohort.features("s14"), cohort.predict("s14")
    for label in ("plain", "striped", ""):
        write_heatmaps(record, features, prediction, CLASSES, cohort.folder / "labels", TIMEOUT, label)
    assert [text.is_wrong for text in panel_texts] == [True, False, False]
    assert panel_texts[0].title.startswith("s14: predicted striped (probability ")
    assert panel_texts[0].title.endswith("labelled plain: wrong")


def predicted(probabilities, contributions):
    return Prediction(np.array(probabilities), np.full_like(contributions, 0.5), np.array(contributions))


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


def test_even_attention_is_grey_and_uneven_attention_is_not(cohort):
    """Even within a factor of 1.5, as that of an untrained model; ranks of it would be a checkerboard of noise."""
    thumbnails, n = Thumbnails(np.full((50, 70, 3), 255, np.uint8), SIZE, (0, 0), []), ACROSS * DOWN
    noise, colourful = np.random.default_rng(0).uniform(0.97, 1.03, n), []
    for peak in (1.4, 1.6, 30):
        attention = np.stack([np.where(np.arange(n) == 3, peak, noise)] * 2, axis=1)
        prediction = Prediction(np.array([0.5, 0.5]), attention / attention.sum(axis=0), None)
        (overlay,) = draw_overlays(thumbnails, cohort.features("s14"), prediction, 1, CLASSES)
        pixels = np.asarray(overlay.picture).astype(int)
        colourful.append(int(np.ptp(pixels, axis=2).max()))
        assert (overlay.scale.ticks == [(0.5, "even")]) == (peak < 1.5)
        tiles = json.loads(tiles_to_geojson(cohort.features("s14"), prediction, 1, CLASSES))
        values = {tile["properties"]["measurements"]["attention"] for tile in tiles["features"]}
        assert (len(values) == 1) == ("attention" in tiles) == (peak < 1.5)
    assert colourful[0] == 0 and colourful[1] > 30


def test_the_scale_has_the_lowest_and_the_highest_value_with_their_unit(cohort):
    thumbnails, n = Thumbnails(np.full((50, 70, 3), 255, np.uint8), SIZE, (0, 0), []), ACROSS * DOWN
    attention = np.where(np.arange(n) == 3, 0.5, 0.5 / (n - 1))[:, None].repeat(2, axis=1)
    contributions = np.linspace(-0.2, 0.4, n)[:, None] * [-0.5, 0.5]
    overlays = draw_overlays(
        thumbnails, cohort.features("s14"), Prediction(np.array([0.3, 0.7]), attention, contributions), 1, CLASSES
    )
    notes = [overlay.scale.note for overlay in overlays]
    assert notes[0] == "this slide: 0.51 to 18 times the mean of its tiles"
    assert notes[1] == "log-odds per tile: blue for plain, red for striped; this slide: -0.20 to +0.40"


@pytest.mark.parametrize(("factor", "drawn"), [(1.0, False), (1.05, False), (-1.0, True)])
def test_contributions_with_shuffled_positions_are_drawn_where_they_differ(cohort, factor, drawn):
    thumbnails, n = Thumbnails(np.full((50, 70, 3), 255, np.uint8), SIZE, (0, 0), []), ACROSS * DOWN
    prediction = predicted([0.1, 0.9], np.full((n, 2), [-1.0, 1.0]))
    shuffled = replace(prediction, contributions=factor * prediction.contributions)
    store = cohort.features("s14")
    overlays = list(draw_overlays(thumbnails, store, prediction, 1, CLASSES, shuffled))
    assert [overlay.name for overlay in overlays][2:] == ["contribution_shuffled"] * drawn
    assert not drawn or overlays[1].scale.colours is overlays[2].scale.colours
    tiles = json.loads(tiles_to_geojson(store, prediction, 1, CLASSES, shuffled=shuffled))["features"]
    measured = tiles[0]["properties"]["measurements"]
    assert measured.get("contribution to striped, positions shuffled") == (-2.0 if drawn else None)


def test_smoothed_colours_have_no_edges_between_tiles_and_the_titles_say_so(cohort):
    thumbnails, n = Thumbnails(np.full((200, 280, 3), 255, np.uint8), SIZE, (0, 0), []), ACROSS * DOWN
    values = np.random.default_rng(0).normal(0, 1, (n, 1)) * [-1, 1]
    steps, titles = [], []
    for smooth in (False, True):
        *_, overlay = draw_overlays(
            thumbnails, cohort.features("s14"), predicted([0.5, 0.5], values), 1, CLASSES, None, smooth
        )
        steps.append(np.abs(np.diff(np.asarray(overlay.picture).astype(int), axis=1)).max())
        titles.append(overlay.title)
    assert steps[1] < steps[0] / 3
    assert titles == ["Contribution to striped", "Contribution to striped, smoothed"]


@pytest.fixture
def panel_texts(monkeypatch):
    """What the panels say that are drawn."""
    texts = []
    place = "roformermil.report.heatmaps.draw.draw_panel"
    monkeypatch.setattr(place, lambda text, *rest: texts.append(text) or draw_panel(text, *rest))
    return texts


def test_a_position_aware_model_is_drawn_with_positions_shuffled_and_the_warning_on_its_face(cohort, panel_texts):
    """The strip of amber is the panel's only one. A picture that an earlier model left is removed."""
    settings = Model(name="ro-abmil", hidden_dim=16, attention_dim=16, num_heads=2)
    rows = [replace(row, fold=2) for row in read_folds(cohort.folder / "folds.csv")]
    write_folds(cohort.folder / "ro_folds.csv", rows)
    job = TrainingJob("set", 2, rows, cohort.folder / "stores", CLASSES, settings, Training(epochs=1))
    train_fold(job, cohort.folder / "models/fold_2", progress=False)
    inputs = [cohort.folder / name for name in ("ro_folds.csv", "models", "stores")]
    out, record = cohort.folder / "ro", cohort.records[14]
    out.mkdir()
    (out / "s14.contribution_shuffled.png").write_text("")
    for warning in ("", "m on set is not distinguishable from chance: its AUROC is 0.50, 95% interval 0.40 to 0.60"):
        write_out_of_fold_heatmaps([record], *inputs, CLASSES, out, TIMEOUT, warning)
        amber = (np.abs(cohort.picture("s14.jpg", "ro") - AMBER).max(axis=2) < 12).mean(axis=1) > 0.5
        assert amber.any() == bool(warning)
    hardly = "Shuffling the tiles' positions hardly changes" in panel_texts[0].sentences[-1]
    assert (out / "s14.contribution_shuffled.png").exists() != hardly and "positions" in panel_texts[0].sentences[-1]
    assert panel_texts[1].warning == f"{warning}. Do not read its heat maps as findings."


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


@pytest.mark.parametrize(
    ("lowest", "highest", "sign"), [(-2.0, -1.0, ", all negative"), (1.0, 2.0, ", all positive"), (-1, 1, "")]
)
def test_the_titles_say_when_even_the_highest_tiles_speak_against_the_class(lowest, highest, sign):
    margins = np.linspace(lowest, highest, 20)[:, None] * [-1, 1]
    strips = _choose_tiles(Prediction(np.array([0.5, 0.5]), np.full((20, 2), 0.05), margins), 1, CLASSES)
    assert list(strips) == [
        f"Tiles with the {end} contribution to striped (log-odds){sign}" for end in ("highest", "lowest")
    ]
    assert next(iter(strips[list(strips)[1]])) == 0, "the lowest first"


def test_the_slides_of_a_patient_are_drawn_as_parts_of_one_prediction(cohort, panel_texts):
    """s14 and s12 are striped and of one patient: what their tiles contribute adds up to the patient's logits."""
    parts = {12: "test", 13: "test", 14: "test", 15: "test", 10: "validation", 11: "validation"}
    rows = [
        FoldRow(4, f"s{k}", f"p{k % 2}{k >= 12}", "plain" if k % 2 else "striped", parts.get(k, "train"))
        for k in range(16)
    ]
    rows = [replace(row, patient_id=row.slide_id) if row.part != "test" else row for row in rows]
    write_folds(cohort.folder / "patient_folds.csv", rows)
    model = Model(name="abmil", hidden_dim=32, attention_dim=32, num_heads=1)
    job = TrainingJob("set", 4, rows, cohort.folder / "stores", CLASSES, model, Training(epochs=2), "patient")
    train_fold(job, cohort.folder / "models/fold_4", progress=False)
    cohort.write_heatmaps([cohort.records[12], cohort.records[14]], "patients", folds="patient_folds.csv")
    trained, slides = load_model(cohort.folder / "models/fold_4/model.safetensors"), ("s12", "s14")
    bag = join_slides({name: cohort.features(name) for name in slides})
    whole = trained.predict_bag(bag)
    drawn = [value for name in slides for value in cohort.measurements(name, "contribution to striped", "patients")]
    assert drawn == pytest.approx(whole.margins[:, 1].tolist(), abs=1e-6)
    assert all("patient predicted" in text.title for text in panel_texts)
    shares = [float(part.attention[:, 1].sum()) for part in whole.split(bag.slide_lengths)]
    for text, share in zip(panel_texts, shares, strict=True):
        assert f"this one has {share:.0%} of the attention" in text.sentences[1]


@pytest.mark.parametrize("label", ["12+", ""])
def test_maps_of_survival_show_what_tiles_add_to_the_risk(cohort, panel_texts, label):
    """One map, of the mean over the hazards of the intervals; never right or wrong."""
    task, n = make_task("survival").fit(["1", "2", "3", "4"]), ACROSS * DOWN
    contributions = np.tile(np.linspace(-0.1, 0.3, n)[:, None], 4) * [0, 1, 1, 2]
    attention = np.tile(np.where(np.arange(n) == 3, 0.5, 0.5 / (n - 1))[:, None], 4)
    prediction = Prediction(np.array([0.42, 0.9, 0.7, 0.5, 0.2]), attention, contributions, task)
    assert prediction.margins[:, 0] == pytest.approx(contributions.mean(axis=1))
    out = cohort.folder / "survival"
    write_heatmaps(cohort.records[14], cohort.features("s14"), prediction, list(task.mapped), out, TIMEOUT, label)
    (text,) = panel_texts
    assert text.title == "s14: risk 0.42" + ", no event by 12" * bool(label) and not text.is_wrong
    times = f"{np.exp(prediction.margins.sum()):.0f}"
    assert text.sentences[0].startswith("Red raises the risk, blue lowers it")
    assert f"raise the odds of the event in an interval {times} times over" in text.sentences[0]
    tiles = json.loads((out / "s14.geojson").read_text())["features"]
    measured = [tile["properties"]["measurements"]["contribution to risk"] for tile in tiles]
    assert measured == pytest.approx(contributions.mean(axis=1).tolist())


def test_maps_of_regression_are_in_units_of_the_label(cohort):
    """A model of labels a hundred times as large has the same colours."""
    thumbnails, n, pictures = Thumbnails(np.full((50, 70, 3), 255, np.uint8), SIZE, (0, 0), []), ACROSS * DOWN, []
    for unit in (1, 100):
        task = make_task("regression").fit([str(value * unit) for value in (1.0, 2.0, 3.0)])
        values = np.linspace(-0.001, 0.002, n)[:, None] * unit
        prediction = Prediction(np.array([2.0 * unit]), np.full((n, 1), 1 / n), values, task)
        (_, overlay) = draw_overlays(thumbnails, cohort.features("s14"), prediction, 0, ["prediction"])
        assert overlay.scale.note.startswith("units of the label per tile: blue lowers, red raises the prediction")
        assert _choose_tiles(prediction, 0, ["prediction"]) == {}, "negligible"
        pictures.append(np.asarray(overlay.picture))
    assert (pictures[0] == pictures[1]).all()
    total = describe_maps(prediction, 0, ["prediction"])[0]
    assert total.endswith(f"Together, the tiles add {values.sum():+.1f} to the model's baseline.")
