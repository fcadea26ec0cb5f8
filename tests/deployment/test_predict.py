"""Raw slides to predictions by a packaged model, against the same models asked one by one."""

import csv
import json
import re
import shutil

import numpy as np
import pytest
import tifffile
import torch
from safetensors.numpy import load_file

from roformermil.bags.dataset import BagDataset, pack
from roformermil.bags.folds import FoldRow, make_folds, write_folds
from roformermil.bags.leakage import Finding, find_leaks, write_findings
from roformermil.cohort.slide_sheet import Slide
from roformermil.cohort.slide_table import SlideRecord, run_stage, write_slides_csv
from roformermil.cohort.synthetic import draw_tissue, write_pyramid
from roformermil.config import Encoder, Folds, Leakage, Model, Tiles, Tissue, Training
from roformermil.deployment.export import export_model
from roformermil.deployment.predict import load_packaged_model, predict_slides
from roformermil.errors import LeakError, ModelError
from roformermil.features.embed import Embedder
from roformermil.features.store import read_store, write_store
from roformermil.models.inference import load_model
from roformermil.slides.steps import segment_slide, tile_slide
from roformermil.training import TrainingJob, train_fold

TISSUE, TILES = Tissue(), Tiles(tile_px=64, target_mpp=1.0)
ENCODER = Encoder(weights="random", compile="never", batch_size=16)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A folder in which a model was trained on six small slides and packaged, and three slides that it never saw."""
    folder = tmp_path_factory.mktemp("lab")
    rng = np.random.default_rng(0)
    rows = []
    for k in range(9):
        path = folder / f"slides/s{k}.tif"
        path.parent.mkdir(exist_ok=True)
        write_pyramid(path, draw_tissue(rng, 700, 600, ("separate", "mixed")[k % 2]))
        rows.append(SlideRecord(f"s{k}", str(path)))
    out = folder / "results/set"
    rows = run_stage("segment", rows, lambda row: segment_slide(row, out / "tissue", TISSUE), progress=False)
    rows = run_stage("tile", rows, lambda row: tile_slide(row, out / "tissue", out / "tiles", TILES), progress=False)
    stores = out / "features/resnet50-random"
    rows = Embedder(ENCODER, progress=False).embed(rows, out / "tiles", stores)
    slides = [Slide(f"s{k}", f"p{k}", ("separate", "mixed")[k % 2], rows[k].path, None) for k in range(6)]
    write_slides_csv(out / "slides.csv", rows[:6])
    folds = make_folds(slides, Folds(count=3), ["separate", "mixed"])
    write_folds(out / "folds.csv", folds)
    paths = []
    for fold in range(3):
        job = TrainingJob(
            "set", fold, [row for row in folds if row.fold == fold], stores, ["separate", "mixed"],
            Model(name="ro-abmil", hidden_dim=32, attention_dim=16, num_heads=2), Training(epochs=3, learning_rate=1e-3),
        )  # fmt: skip
        train_fold(job, out / f"resnet50-random/ro-abmil/fold_{fold}", progress=False)
        paths.append(out / f"resnet50-random/ro-abmil/fold_{fold}/predictions.csv")
    settings = {"tissue": TISSUE.model_dump(), "tiles": TILES.model_dump(), "encoder": ENCODER.model_dump()}
    write_findings(find_leaks(folds, slides, rows[:6]), Leakage(), Folds(), "set", out / "leakage.csv")
    export_model(paths, out, stores, settings, folder / "model")
    return folder


@pytest.fixture(scope="module")
def predicted(lab):
    (lab / "slides/broken.svs").write_text("not a slide")
    slides = [lab / f"slides/s{k}.tif" for k in (6, 7, 8)] + [lab / "slides/broken.svs"]
    return predict_slides(slides, lab / "model", lab / "out", progress=False)


def test_a_slide_never_seen_gets_the_pipelines_own_ensemble(lab, predicted):
    """The pipeline's features of the slide, its folds' files, torch's own softmax, a mean: no code of `predict`."""
    stores = lab / "results/set/features/resnet50-random"
    for row in predicted[:3]:
        data = BagDataset([FoldRow(0, row["slide_id"], "p", "mixed", "test")], stores, ["separate", "mixed"])
        batch = pack([data[0]])
        members = [
            load_model(lab / f"results/set/resnet50-random/ro-abmil/fold_{k}/model.safetensors") for k in range(3)
        ]
        with torch.no_grad():
            ps = [m.model(batch.features, batch.grid, batch.lengths).logits.softmax(-1)[0] for m in members]
        expected = torch.stack(ps).mean(0).tolist()
        assert [row["probability_separate"], row["probability_mixed"]] == pytest.approx(expected, abs=1e-5)
        assert row["decided"] == ["separate", "mixed"][int(np.argmax(expected))]
        p = [float(one[int(np.argmax(expected))]) for one in ps]
        assert row["disagreement"] == pytest.approx(max(p) - min(p), abs=1e-5)


def test_a_bad_slide_is_a_row_and_the_others_have_heat_maps(lab, predicted):
    assert [row["status"] for row in predicted] == ["ok", "ok", "ok", "unreadable"]
    assert sorted(path.name for path in (lab / "out/heatmaps").glob("*.jpg")) == ["s6.jpg", "s7.jpg", "s8.jpg"]
    with open(lab / "out/predictions.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["slide_id"] for row in table] == ["s6", "s7", "s8", "broken"]
    assert table[3]["message"] and not table[3]["probability_mixed"]


def test_feature_stores_are_taken_as_they_are_and_checked(lab, predicted, tmp_path):
    store = lab / "results/set/features/resnet50-random/s6.zarr"
    (row,) = predict_slides([store], lab / "model", tmp_path, progress=False)
    assert row["probability_mixed"] == pytest.approx(predicted[0]["probability_mixed"], abs=1e-5)
    was = read_store(store)
    for name, value in (("encoder", "uni2-h"), ("weights", "other"), ("target_mpp", 0.5), ("tile_px", 256)):
        other = tmp_path / f"{name}.zarr"
        write_store(other, was.features, was.coords, was.grid, was.attributes | {name: value})
        with pytest.raises(ModelError, match=f"its {name} is {value}, the model was trained on"):
            load_packaged_model(lab / "model").check(other)
        refused, good = predict_slides([other, store], lab / "model", tmp_path / "out", progress=False)
        assert (refused["status"], good["status"]) == ("store", "ok"), "the others are predicted all the same"
        assert f"its {name} is {value}" in refused["message"] and refused["decided"] is None


def test_what_is_doubtful_is_said(lab, predicted, tmp_path):
    """More tiles than any slide of the training; members that decide otherwise."""
    was = read_store(lab / "results/set/features/resnet50-random/s6.zarr")
    card = load_packaged_model(lab / "model").card
    times = int(card.trained_on.tiles["most"] // len(was.grid)) + 1
    many = [np.concatenate([array] * times) for array in (was.features, was.coords, was.grid)]
    write_store(tmp_path / "many.zarr", *many, was.attributes)
    (row,) = predict_slides([tmp_path / "many.zarr"], lab / "model", tmp_path / "out", progress=False)
    assert f"{len(many[0]):,} tiles, slides of its training had" in row["caution"]
    for row in predicted[:3]:
        store = read_store(lab / f"results/set/features/resnet50-random/{row['slide_id']}.zarr")
        _, members = load_packaged_model(lab / "model").answer(store)
        decided = [["separate", "mixed"][int(one.probabilities.argmax())] for one in members]
        others = sum(name != row["decided"] for name in decided)
        assert (f"{others} of 3 members decide otherwise" in row["caution"]) == (others > 0)


def test_a_damaged_store_is_a_row_and_the_others_are_predicted(lab, predicted, tmp_path):
    stores = lab / "results/set/features/resnet50-random"
    shutil.copytree(stores / "s7.zarr", tmp_path / "s7.zarr")
    next(path for path in (tmp_path / "s7.zarr/features/c").rglob("*") if path.is_file()).unlink()
    rows = predict_slides([stores / "s6.zarr", tmp_path / "s7.zarr"], lab / "model", tmp_path / "out", progress=False)
    assert [row["status"] for row in rows] == ["ok", "unreadable"]
    assert "s7.zarr: no whole feature store here" in rows[1]["message"]
    with open(tmp_path / "out/predictions.csv", newline="") as file:
        assert [row["decided"] for row in csv.DictReader(file)] == [predicted[0]["decided"], ""]


def test_earlier_rows_of_the_same_model_stay(lab, predicted, tmp_path):
    def ids():
        with open(tmp_path / "out/predictions.csv", newline="") as file:
            return [row["slide_id"] for row in csv.DictReader(file)]

    stores = [lab / f"results/set/features/resnet50-random/s{k}.zarr" for k in (6, 7, 8)]
    for chosen in (stores[:2], stores[1:]):
        assert len(predict_slides(chosen, lab / "model", tmp_path / "out", progress=False)) == 2
    assert ids() == ["s6", "s7", "s8"]
    other = shutil.copytree(lab / "model", tmp_path / "other")
    card = json.loads((other / "model.json").read_text())
    (other / "model.json").write_text(json.dumps(card | {"name": "another"}))
    predict_slides(stores[:1], other, tmp_path / "out", progress=False)
    assert ids() == ["s6"], "no table mixes models"


def test_mpp_is_for_slides_that_state_none(lab, predicted, tmp_path):
    pixels = tifffile.imread(lab / "slides/s6.tif")
    tifffile.imwrite(tmp_path / "mute.tif", pixels, tile=(256, 256), compression="zlib")
    slides = [lab / "slides/s6.tif", tmp_path / "mute.tif"]
    stated, mute = predict_slides(slides, lab / "model", tmp_path / "none", heatmaps=False, progress=False)
    assert (stated["status"], mute["status"]) == ("ok", "no_mpp")
    stated, mute = predict_slides(slides, lab / "model", tmp_path / "one", mpp=0.25, heatmaps=False, progress=False)
    assert stated["tiles"] == predicted[0]["tiles"] > mute["tiles"] > 0, "the file's own resolution stands"


def test_an_encoder_with_other_weights_is_refused(lab, tmp_path):
    shutil.copytree(lab / "model", tmp_path / "model")
    card = json.loads((tmp_path / "model/model.json").read_text())
    card["settings"]["encoder"]["seed"] = 5
    (tmp_path / "model/model.json").write_text(json.dumps(card))
    with pytest.raises(ModelError, match="weights are random:5, the model was trained on random:0"):
        predict_slides([lab / "slides/s6.tif"], tmp_path / "model", tmp_path / "out", progress=False)


def test_the_package_says_what_it_was_trained_on(lab):
    card = load_packaged_model(lab / "model").card
    assert card.trained_on.slides == card.trained_on.patients == 6
    assert card.trained_on.labels == {"separate": 3, "mixed": 3}
    text = (lab / "model/README.md").read_text()
    assert (
        "6 slides of 6 patients (3 separate, 3 mixed)" in text or "6 slides of 6 patients (3 mixed, 3 separate)" in text
    )
    assert "roformermil predict slides/*.svs" in text
    assert "random encoder weights" in text and "2 test slides a fold are few" in text, "what not to trust goes with it"


def test_no_slides_name_and_no_path_leaves_the_lab(lab, tmp_path):
    results = lab / "results/set"
    own = {"weights": "/home/someone/secret/resnet50.pth", "id": "r"}
    paths = sorted(results.glob("resnet50-random/ro-abmil/fold_*/predictions.csv"))
    data = tmp_path / "set"
    shutil.copytree(results, data, ignore=shutil.ignore_patterns("features", "resnet50-random", "tissue", "tiles"))
    with pytest.raises(LeakError):
        write_findings(
            [Finding("patients", "leak", 1, 'in two parts: "s3"')], Leakage(), Folds(), "set", data / "leakage.csv"
        )
    (data / "leakage_failed.csv").rename(data / "leakage.csv")
    export_model(
        paths,
        data,
        results / "features/resnet50-random",
        {"tissue": {}, "tiles": {}, "encoder": own},
        tmp_path / "model",
    )
    for path in (tmp_path / "model").iterdir():
        said = path.read_bytes()
        if path.suffix == ".safetensors":  # parameters hold any bytes; what a file says stands before them
            said = said[8 : 8 + int.from_bytes(said[:8], "little")]
        assert not re.search(rb'secret|"s[0-5]|slides/s', said), path
    text = (tmp_path / "model/README.md").read_text()
    assert "the same patients train and test: figures flatter (1 found)" in text
    assert "--model THIS_FOLDER --weights resnet50.pth --out" in text and "`resnet50.pth` (--weights)" in text
    for fold in range(3):
        one, other = (
            load_file(folder / name)
            for folder, name in (
                (results / f"resnet50-random/ro-abmil/fold_{fold}", "model.safetensors"),
                (tmp_path / "model", f"fold_{fold}.safetensors"),
            )
        )
        assert one.keys() == other.keys() and all((one[name] == other[name]).all() for name in one)
    with pytest.raises(
        ModelError, match=r"needs the weights resnet50.pth, a file of the lab that made it: give it by --weights"
    ):
        predict_slides([lab / "slides/s6.tif"], tmp_path / "model", tmp_path / "out", progress=False)


def test_a_package_that_is_damaged_or_none_is_an_error(lab, tmp_path):
    shutil.copytree(lab / "model", tmp_path / "model")
    shutil.copy(tmp_path / "model/fold_1.safetensors", tmp_path / "model/fold_0.safetensors")
    with pytest.raises(ModelError, match=r"fold_0.safetensors: is not the file that was packaged"):
        load_packaged_model(tmp_path / "model")
    with pytest.raises(ModelError, match="is no packaged model, a folder with model.json"):
        load_packaged_model(tmp_path)
    card = json.loads((lab / "model/model.json").read_text())
    for change, said in (
        ({"classes": ["mixed", "separate"]}, "other classes"),
        ({"members": {}}, "members"),
        ({"members": {"../fold_0.safetensors": "0"}}, "members"),
        ({"features": None}, "features"),
    ):
        shutil.copytree(lab / "model", tmp_path / "changed", dirs_exist_ok=True)
        (tmp_path / "changed/model.json").write_text(json.dumps(card | change))
        with pytest.raises(ModelError, match=said):
            load_packaged_model(tmp_path / "changed")
    with pytest.raises(ModelError, match="s6 stands twice"):
        predict_slides([lab / "slides/s6.tif"] * 2, lab / "model", tmp_path, progress=False)
