"""A run's models packaged, and slides predicted with them, compared with the predictions of the folds' own models."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from typer.testing import CliRunner

from roformermil.bags.augmentation import SHUFFLE_REPEATS, shuffle_positions
from roformermil.bags.dataset import BagDataset, pack
from roformermil.bags.folds import FoldRow
from roformermil.cli import app
from roformermil.cohort.slide_table import SlideRecord
from roformermil.cohort.synthetic import write_pyramid
from roformermil.config import Training
from roformermil.deployment.export import export_model
from roformermil.deployment.model_card import Preparation, Spread, render_card
from roformermil.deployment.predict import load_packaged_model, predict
from roformermil.deployment.prediction_table import prediction_fields, table_row
from roformermil.errors import ConfigError, ModelError
from roformermil.features.store import read_store, write_store
from roformermil.models.inference import Prediction, load_model
from tests.deployment.lab import CLASSES, DATA, ENCODER, MODEL, RUN, STORES
from tests.factories import read_rows, train_run


def test_a_new_slide_gets_the_mean_probability_of_the_folds_models(lab, predicted):
    """Compared with the workflow's own features of the slide, its folds' models and torch's softmax: no code of `predict`."""
    for row in predicted[:3]:
        bags = BagDataset([FoldRow(0, row["slide_id"], "p", "excluded", "test")], lab / STORES, CLASSES)
        batch = pack([bags[0]])
        members = [load_model(lab / RUN / f"fold_{k}/model.safetensors").model for k in range(3)]
        with torch.no_grad():
            ps = torch.stack([m(batch.features, batch.grid, batch.lengths).logits.softmax(-1)[0] for m in members])
        expected, predicted_class = ps.mean(0).tolist(), int(ps.mean(0).argmax())
        assert [row["probability_inflamed"], row["probability_excluded"]] == pytest.approx(expected, abs=1e-5)
        assert row["predicted"] == CLASSES[predicted_class]
        assert row["disagreement"] == pytest.approx(float(np.ptp(ps[:, predicted_class].numpy())), abs=1e-5)


def test_the_packaged_operating_point_and_temperatures_are_applied(lab, change_card, tmp_path):
    """Compared with the folds' models, whose logits are divided by the temperature before torch's softmax."""
    temperatures = [0.5, 2.0, 4.0]
    point = {"threshold": 0.5, "lowest": 0.4, "highest": 0.6, "results": []}
    store, rows = lab / STORES / "s6.zarr", {}
    for threshold in (0.0, 1.0):
        decisions = {
            "operating_point": "Youden's index",
            "classes": {"excluded": point | {"threshold": threshold}},
            "temperatures": {f"fold_{k}.safetensors": value for k, value in enumerate(temperatures)},
        }
        (rows[threshold],) = predict([store], change_card(decisions=decisions), tmp_path / "out", progress=False)
    assert [rows[threshold]["decision"] for threshold in (0.0, 1.0)] == ["excluded", "inflamed"]
    bag = pack([BagDataset([FoldRow(0, "s6", "p", "excluded", "test")], lab / STORES, CLASSES)[0]])
    members = [load_model(lab / RUN / f"fold_{k}/model.safetensors").model for k in range(3)]
    with torch.no_grad():
        logits = [member(bag.features, bag.grid, bag.lengths).logits[0] for member in members]
    expected = torch.stack([(one / t).softmax(-1) for one, t in zip(logits, temperatures, strict=True)]).mean(0)
    assert rows[0.0]["probability_excluded"] == pytest.approx(expected[1].item(), abs=1e-5)
    assert read_rows(tmp_path / "out/predictions.csv")[0]["decision"] == "inflamed"


@pytest.fixture(scope="module")
def shuffled(lab, predicted, tmp_path_factory):
    """The rows of the same slides, and of a missing one, also predicted with shuffled positions."""
    stores = [lab / STORES / f"{name}.zarr" for name in ("s6", "s7", "s8", "none")]
    return predict(stores, lab / "model", tmp_path_factory.mktemp("out"), progress=False, shuffle_positions=True)


def test_probabilities_with_shuffled_positions_are_means_over_members_and_repeats(lab, predicted, shuffled):
    """Compared with the folds' models and torch's softmax on the slide's features with other positions: no code of `predict`."""
    for row, before in zip(shuffled[:3], predicted, strict=False):
        bag = BagDataset([FoldRow(0, row["slide_id"], "p", "excluded", "test")], lab / STORES, CLASSES)[0]
        grids = [shuffle_positions(bag.grid, row["slide_id"], repeat) for repeat in range(SHUFFLE_REPEATS)]
        batches = [pack([bag._replace(grid=grid)]) for grid in grids]
        members = [load_model(lab / RUN / f"fold_{k}/model.safetensors").model for k in range(3)]
        with torch.no_grad():
            ps = [m(b.features, b.grid, b.lengths).logits.softmax(-1)[0] for m in members for b in batches]
        mean = torch.stack(ps).mean(0)
        of_classes = [row["shuffled_probability_inflamed"], row["shuffled_probability_excluded"]]
        assert of_classes == pytest.approx(mean.tolist(), abs=1e-6)
        assert row["shuffled_predicted"] == CLASSES[int(mean.argmax())]
        assert row["probability_excluded"] == pytest.approx(before["probability_excluded"], abs=1e-5), "as before"
    changes = [row["shuffled_probability_excluded"] - row["probability_excluded"] for row in shuffled[:3]]
    assert max(map(abs, changes)) > 2e-5, "more than the tolerance: positions do count"
    assert (shuffled[3]["status"], shuffled[3]["shuffled_predicted"]) == ("missing", None)


def test_rows_with_and_without_shuffled_positions_are_kept_in_one_table(lab, shuffled, tmp_path):
    stores, columns = [lab / STORES / f"s{k}.zarr" for k in (6, 7, 8)], []
    for chosen, shuffle in ((stores[:2], False), (stores[1:], True), (stores[:1], False)):
        predict(chosen, lab / "model", tmp_path, progress=False, shuffle_positions=shuffle)
        table = {row["slide_id"]: row for row in read_rows(tmp_path / "predictions.csv")}
        columns.append({name: row.get("shuffled_predicted") for name, row in table.items()})
    again = {row["slide_id"]: row["shuffled_predicted"] for row in shuffled}
    first = {"s6": "", "s7": again["s7"], "s8": again["s8"]}
    assert columns == [{"s6": None, "s7": None}, first, first]
    assert float(table["s8"]["shuffled_probability_excluded"]) == shuffled[2]["shuffled_probability_excluded"], "seeded"
    assert all(float(row["probability_excluded"]) > 0 for row in table.values())


def test_what_shuffling_changes_is_told_for_each_slide_and_for_all(lab, shuffled, tmp_path):
    paths = [lab / STORES / "s6.zarr", "--model", lab / "model", "--out", tmp_path]
    result = CliRunner().invoke(app, ["predict", *map(str, paths), "--shuffle-positions"])
    row = shuffled[0]
    cells = [
        row["predicted"],
        row["decision"],
        f"{row['probability_' + row['predicted']]:.3f}",
        f"{row['disagreement']:.3f}",
    ]
    then = row["shuffled_predicted"]
    cells += [str(row["tiles"]), then, f"{row['shuffled_probability_' + then]:.3f}"]
    assert ["s6", *cells] in [line.split() for line in result.output.splitlines()]
    changed = int(row["predicted"] != then)
    assert f"Shuffling tile positions changes the predicted class of {changed} of 1 slide.\n" in result.output


def test_a_model_without_positions_is_predicted_with_a_warning_and_no_further_columns(lab, tmp_path, caplog):
    records = [SlideRecord(f"s{k}", lab / f"slides/s{k}.tif", tiles=10) for k in range(6)]
    shutil.copytree(lab / STORES, tmp_path / STORES)
    model, training = MODEL.model_copy(update={"name": "abmil", "id": "abmil", "position": "none"}), Training(epochs=1)
    predictions = train_run(tmp_path / DATA, "resnet50-random", records, CLASSES, model, training)
    export_model(predictions, tmp_path / DATA, lab / STORES, Preparation(encoder=ENCODER), tmp_path / "model")
    store = [lab / STORES / "s6.zarr"]
    (row,) = predict(store, tmp_path / "model", tmp_path / "out", progress=False, shuffle_positions=True)
    assert row["status"] == "ok" and not [name for name in row if "shuffled" in name]
    warning = "set, abmil: uses no tile positions, so shuffling them cannot change its predictions: --shuffle-positions"
    assert warning in caplog.text
    text = (tmp_path / "model/README.md").read_text()
    assert "huffl" not in text and "grid" not in text and "Features are standardized" in text


def test_a_bad_slide_has_a_row_with_its_status_and_the_others_have_heat_maps(lab, predicted):
    assert [row["status"] for row in predicted] == ["ok", "ok", "ok", "unreadable"]
    assert sorted(path.name for path in (lab / "out/heatmaps").glob("*.jpg")) == ["s6.jpg", "s7.jpg", "s8.jpg"]
    table = read_rows(lab / "out/predictions.csv")
    assert [row["slide_id"] for row in table] == ["s6", "s7", "s8", "broken"]
    assert table[3]["message"] and not table[3]["probability_excluded"]


def test_feature_stores_are_predicted_too_unless_they_are_of_another_encoder_or_scale(lab, predicted, tmp_path):
    store = lab / STORES / "s6.zarr"
    (row,) = predict([store], lab / "model", tmp_path, progress=False)
    assert row["probability_excluded"] == pytest.approx(predicted[0]["probability_excluded"], abs=1e-5)
    was = read_store(store)
    for name, value in (("encoder", "uni2-h"), ("weights", "other"), ("target_mpp", 0.5), ("tile_px", 256)):
        other = tmp_path / f"{name}.zarr"
        write_store(other, was.features, was.coords, was.grid, was.attributes | {name: value})
        with pytest.raises(ModelError, match=f"its {name} is {value}, the model was trained on .*: predict the slide"):
            load_packaged_model(lab / "model").check_features(other)
        refused, good = predict([other, store], lab / "model", tmp_path / "out", progress=False)
        assert (refused["status"], good["status"]) == ("wrong_features", "ok"), "the others are predicted all the same"
        assert f"its {name} is {value}" in refused["message"] and refused["predicted"] is None


def test_a_row_warns_of_unusual_tile_numbers_and_of_members_that_disagree(lab, predicted, tmp_path):
    was, model = read_store(lab / STORES / "s6.zarr"), load_packaged_model(lab / "model")
    times = int(model.card.training_data.tiles.most // len(was.grid)) + 1
    many = [np.concatenate([array] * times) for array in (was.features, was.coords, was.grid)]
    write_store(tmp_path / "many.zarr", *many, was.attributes)
    (row,) = predict([tmp_path / "many.zarr"], lab / "model", tmp_path / "out", progress=False)
    assert f"{len(many[0]):,} tiles, the training slides had" in row["warnings"]
    for row in predicted[:3]:
        _, members = model.predict(read_store(lab / STORES / f"{row['slide_id']}.zarr"))
        others = sum(CLASSES[int(one.probabilities.argmax())] != row["predicted"] for one in members)
        assert (f"{others} of 3 members predict another class" in row["warnings"]) == (others > 0)


def test_what_is_odd_about_the_slide_comes_first_among_its_warnings():
    record = SlideRecord("s", Path("s.svs"), warnings="most of its border is tissue")
    prediction = Prediction(np.array([0.2, 0.8]), np.zeros((3, 2)), None)
    fields = prediction_fields(record, prediction, [prediction], CLASSES, Spread(least=1, median=2, most=2))
    assert fields["warnings"] == "most of its border is tissue; 3 tiles, the training slides had 1 to 2"
    assert table_row(record, CLASSES, "id")["warnings"] == record.warnings


def test_a_damaged_store_has_a_row_and_the_others_are_predicted(lab, predicted, tmp_path):
    damaged = shutil.copytree(lab / STORES / "s7.zarr", tmp_path / "s7.zarr")
    next(path for path in (damaged / "features/c").rglob("*") if path.is_file()).unlink()
    rows = predict([lab / STORES / "s6.zarr", damaged], lab / "model", tmp_path / "out", progress=False)
    assert [row["status"] for row in rows] == ["ok", "unreadable"]
    assert "s7.zarr: not a complete feature store" in rows[1]["message"]
    assert [row["predicted"] for row in read_rows(tmp_path / "out/predictions.csv")] == [predicted[0]["predicted"], ""]


def test_earlier_rows_of_the_same_model_are_kept(lab, tmp_path, change_card):
    stores, table = [lab / STORES / f"s{k}.zarr" for k in (6, 7, 8)], tmp_path / "out/predictions.csv"
    for chosen in (stores[:2], stores[1:]):
        assert len(predict(chosen, lab / "model", tmp_path / "out", progress=False)) == 2
    assert [row["slide_id"] for row in read_rows(table)] == ["s6", "s7", "s8"]
    predict(stores[:1], change_card(name="another"), tmp_path / "out", progress=False)
    assert [row["slide_id"] for row in read_rows(table)] == ["s6"], "no table mixes models"


def test_another_slide_of_the_same_name_is_refused_and_the_same_slide_may_have_moved(lab, tmp_path):
    def predict_copy(of, folder):
        store = shutil.copytree(lab / STORES / f"{of}.zarr", tmp_path / folder / "s6.zarr", dirs_exist_ok=True)
        return predict([store], lab / "model", tmp_path / "out", progress=False)

    assert (
        predict([tmp_path / "none/s6.zarr"], lab / "model", tmp_path / "out", progress=False)[0]["status"] == "missing"
    )
    predict_copy("s6", "one")
    predict_copy("s6", "two")
    before = (tmp_path / "out/predictions.csv").read_text()
    with pytest.raises(
        ConfigError, match=r"s6 \(/.*three/s6.zarr; earlier /.*two/s6.zarr\). Predict these into another"
    ):
        predict_copy("s7", "three")
    assert (tmp_path / "out/predictions.csv").read_text() == before
    predict_copy("s7", "two")  # the file itself was replaced


def test_mpp_is_for_slides_that_do_not_state_a_usable_resolution(lab, predicted, tmp_path, caplog):
    pixels = tifffile.imread(lab / "slides/s6.tif")
    tifffile.imwrite(tmp_path / "mute.tif", pixels, tile=(256, 256), compression="zlib")
    slides = [lab / "slides/s6.tif", tmp_path / "mute.tif"]
    stated, mute = predict(slides, lab / "model", tmp_path / "none", heatmaps=False, progress=False)
    assert (stated["status"], mute["status"]) == ("ok", "no_mpp")
    assert "mute.tif: the file does not state its resolution" in mute["message"] and "--mpp" in mute["message"]
    caplog.set_level("INFO")
    stated, mute = predict(slides, lab / "model", tmp_path / "one", mpp=0.25, heatmaps=False, progress=False)
    assert stated["tiles"] == predicted[0]["tiles"] > mute["tiles"] > 0, "a resolution that the file states is kept"
    assert "s6: states its own resolution, 0.5 um/px, so --mpp has no effect" in caplog.text
    assert "mute: states" not in caplog.text
    assert stated["path"] == lab / "slides/s6.tif" and stated["path"].is_absolute()


def test_an_encoder_with_other_weights_is_refused(lab, tmp_path, change_card):
    settings = load_packaged_model(lab / "model").card.settings.model_dump(mode="json")
    settings["encoder"]["seed"] = 5
    with pytest.raises(ModelError, match="weights are random:5, the model was trained on random:0"):
        predict([lab / "slides/s6.tif"], change_card(settings=settings), tmp_path / "out", progress=False)


def test_the_exit_status_is_1_only_if_no_slide_was_predicted(lab, predicted, tmp_path):
    bad, good = tmp_path / "missing.tif", lab / STORES / "s6.zarr"
    for slides, status in (([bad], 1), ([bad, good], 0)):
        arguments = ["predict", *slides, "--model", lab / "model", "--out", tmp_path / "out"]
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == status, result.output
        assert f"missing: missing: {bad}: no such file" in result.output
    wrong = CliRunner().invoke(app, ["predict", str(good), "--model", str(lab / "model"), "--mpp", "0,5"])
    assert str(wrong.exception) == "--mpp '0,5' is not a positive number of um/px; write 0.5"


def test_a_model_of_imported_features_takes_stores_only_and_its_card_says_so(lab, tmp_path, change_card):
    model = change_card(features={"encoder": "virchow2", "weights": None, "target_mpp": None, "tile_px": None})
    with pytest.raises(ModelError, match="was trained on imported features and takes only such"):
        predict([lab / "slides/s6.tif"], model, tmp_path / "out", progress=False)
    text = render_card(load_packaged_model(model).card)
    assert "roformermil predict features/ --model" in text and "imported as `virchow2`" in text


def test_slides_of_one_name_and_weights_that_are_not_used_or_do_not_exist_are_refused(lab, tmp_path):
    slide = [lab / "slides/s6.tif"]
    with pytest.raises(ConfigError, match=r"several slides are called s6 \(.*\): predict them into different folders"):
        predict([*slide, tmp_path / "s6.tif"], lab / "model", tmp_path, progress=False)
    with pytest.raises(ConfigError, match="with the given weights: tissue: weights has no effect with method"):
        predict(slide, lab / "model", tmp_path, tissue_weights=slide[0], progress=False)
    with pytest.raises(ModelError, match="--weights: no file at .*/none.pth"):
        predict(slide, lab / "model", tmp_path, weights=tmp_path / "none.pth", progress=False)


def test_a_folder_is_walked_and_tiles_for_qupath_are_written_without_heat_maps(lab, predicted, tmp_path):
    (tmp_path / "new/a").mkdir(parents=True)
    shutil.copy(lab / "slides/s6.tif", tmp_path / "new/a/s6.tif")
    (tmp_path / "new/notes.txt").write_text("no slide")
    shutil.copytree(lab / "out/features", tmp_path / "out/features")
    shutil.copytree(lab / "out/tissue", tmp_path / "out/tissue")
    arguments = [tmp_path / "new", "--model", lab / "model", "--out", tmp_path / "out", "--no-heatmaps", "--geojson"]
    result = CliRunner().invoke(app, ["predict", *map(str, arguments)])
    assert result.exit_code == 0 and "1 of 1 slide predicted" in result.output
    assert [path.name for path in (tmp_path / "out/heatmaps").iterdir()] == ["s6.geojson"]
    with_pictures = (lab / "out/heatmaps/s6.geojson").read_text()
    assert (tmp_path / "out/heatmaps/s6.geojson").read_text() == with_pictures and "contribution" in with_pictures
    (row,) = read_rows(tmp_path / "out/predictions.csv")
    assert row["geojson"].endswith("heatmaps/s6.geojson") and not row["heatmap"]
    assert float(row["probability_excluded"]) == pytest.approx(predicted[0]["probability_excluded"], abs=1e-5)


def test_a_lost_slide_has_the_remedy_of_predict_in_its_row_and_in_the_log(lab, tmp_path, caplog):
    write_pyramid(tmp_path / "blank.tif", np.full((700, 600, 3), 240, np.uint8))
    (row,) = predict([tmp_path / "blank.tif"], lab / "model", tmp_path / "out", progress=False)
    remedy = f"look at its outline in {tmp_path}/out/tissue; for other settings of this slide, give a slide sheet"
    assert row["status"] == "empty" and remedy in row["message"] and remedy in caplog.text
    assert "snakemake" not in caplog.text and (tmp_path / "out/tissue/blank.jpg").exists()


def test_a_model_at_chance_says_so_first(lab):
    card = load_packaged_model(lab / "model").card
    auroc = next(result for result in card.results if result.metric == "auroc")
    others = [result for result in card.results if result.metric != "auroc"]
    for low, warns in ((0.4, True), (0.6, False)):
        changed = auroc.model_copy(update={"mean": 0.7, "ci_low": low, "ci_high": 0.9})
        one = card.model_copy(update={"results": [changed, *others]})
        assert ("not distinguishable from chance" in one.all_cautions[0]) == warns
        assert (f"- {one.chance_warning}\n" in render_card(one)) == warns
