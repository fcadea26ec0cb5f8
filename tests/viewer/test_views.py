"""Which slides and predictions the viewer finds in a folder, in which order."""

import json
import shutil

import pytest

from roformermil.cohort.slide_table import SlideRecord
from roformermil.errors import ConfigError
from roformermil.viewer.answers import describe_run, describe_slide, describe_view
from roformermil.viewer.folders import find_views
from roformermil.viewer.pixels import OpenSlides
from roformermil.viewer.views import ShownSlide, View, by_surprise
from tests.factories import read_rows
from tests.viewer.runs import CLASSES, LOST, make_predictions


def slides_of(view):
    return {slide["id"]: slide for slide in describe_view(view)["slides"]}


def test_a_run_has_a_view_of_each_data_set_and_model(run):
    views = find_views(run)
    assert [(view.dataset, view.encoder, view.model) for view in views] == [
        ("mine", "net", "abmil"),
        ("mine", "net", "dsmil"),
    ]
    assert [view["heatmaps"] for view in describe_run(run, views)["views"]] == [True, False]
    assert [view.model for view in find_views(run / "mine")] == ["abmil", "dsmil"]


def test_predictions_are_those_of_the_fold_that_tested_the_slide(run):
    slides = slides_of(find_views(run)[0])
    for fold in range(3):
        for row in read_rows(run / f"mine/net/abmil/fold_{fold}/predictions.csv"):
            if row["part"] == "test":
                shown = slides[row["slide_id"]]
                assert (shown["fold"], shown["label"], shown["patient"]) == (fold, row["label"], row["patient_id"])
                assert shown["probabilities"][1] == pytest.approx(float(row["probability_malignant"]))
    assert all(slide["fold"] is not None for slide in slides.values())


def test_confidently_wrong_slides_come_first_and_lost_ones_last(run):
    slides = describe_view(find_views(run)[0])["slides"]
    of_label = [slide["probabilities"][CLASSES.index(slide["label"])] for slide in slides[:-1]]
    assert of_label == sorted(of_label) and of_label[0] < 0.5 < of_label[-1]
    assert slides[-1]["status"] == "empty" and slides[-1]["message"] == LOST


def test_slides_without_labels_come_in_the_order_of_doubt(tmp_path):
    probabilities = {"sure": (0.9, 0.1), "none": (), "torn": (0.45, 0.55)}
    slides = {name: ShownSlide(SlideRecord(name, tmp_path), probabilities=p) for name, p in probabilities.items()}
    view = View("mine", "", "ensemble", CLASSES, slides, tmp_path, tmp_path, None, "")
    assert [slide.record.slide_id for slide in by_surprise(view)] == ["torn", "sure", "none"]


def test_a_view_knows_its_standing_and_its_own_cautions(run):
    abmil, dsmil = map(describe_view, find_views(run))
    assert abmil["auroc"] == [0.55, 0.31, 0.79] and dsmil["auroc"] is None
    assert abmil["cautions"] == ["mine: few slides"]
    assert dsmil["cautions"] == ["mine: few slides", "mine, dsmil: never left its plateau"]


def test_a_slide_has_its_layers_and_a_remedy_for_each_that_is_missing(run):
    abmil, dsmil = find_views(run)
    opened = OpenSlides()
    shown = describe_slide(abmil, abmil.slides["s0"], opened)
    assert shown["missing"] == {} and shown["problem"] == "" and shown["image"]["mpp"] == 0.5
    assert set(shown["tiles"]["values"]) == {"attention", "contribution to benign", "contribution to malignant"}
    values = shown["tiles"]["values"]["contribution to malignant"]
    assert max(values) == values[1] and len(shown["tiles"]["x"]) == len(values) == shown["facts"]["tiles"]
    assert all(x % shown["tiles"]["side"] == 0 for x in shown["tiles"]["x"])  # the grid begins at (0, 0)
    assert len(shown["outline"]) >= 1
    other = describe_slide(dsmil, dsmil.slides["s0"], opened)
    assert (
        set(other["missing"]) == {"attention", "contribution"}
        and "dsmil to heatmaps.models" in other["missing"]["attention"]
    )
    assert other["tiles"]["x"] == shown["tiles"]["x"]  # from the tile table


def test_positions_count_from_the_slide_and_not_from_its_scan(run):
    from roformermil.viewer.layers import read_outline, read_tiles

    view = find_views(run)[0]
    tiles, moved = (read_tiles(view, "s0", origin) for origin in ((0, 0), (512, 256)))
    assert (moved.coords - tiles.coords == (512, 256)).all()
    outline, moved = (read_outline(view.tissue, "s0", origin) for origin in ((0, 0), (512, 256)))
    assert moved[0][0] == [outline[0][0][0] + 512, outline[0][0][1] + 256]


def test_a_slide_without_a_file_has_its_problem(run):
    view = find_views(run)[0]
    shown = describe_slide(view, view.slides["s7"], OpenSlides())
    assert shown["image"] is None and str(run.parent / "slides/s7.svs") in shown["problem"]


def test_paths_are_found_from_any_folder_or_below_root(run, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    assert find_views(run)[0].slides["s0"].record.path == run.parent / "slides/s0.tif"
    moved = shutil.copytree(run, tmp_path / "elsewhere/results")
    assert not find_views(moved)[0].slides["s0"].record.path.exists() and "give --root" in caplog.text
    assert find_views(moved, root=run.parent)[0].slides["s0"].record.path.exists()


def test_a_data_set_is_shown_before_training(run, tmp_path):
    results = shutil.copytree(run, tmp_path / "results", ignore=shutil.ignore_patterns("net", "folds.csv"))
    (view,) = find_views(results, root=run.parent)
    assert view.model == "" and slides_of(view)["s0"]["predicted"] == ""
    shown = describe_slide(view, view.slides["s0"], OpenSlides())
    assert "No model is trained" in shown["missing"]["attention"] and len(shown["tiles"]["x"]) > 1


def test_a_model_whose_folds_do_not_fit_is_left_out_with_a_warning(run, tmp_path, caplog):
    results = shutil.copytree(run, tmp_path / "results")
    path = results / "mine/net/dsmil/fold_0/predictions.csv"
    path.write_text(path.read_text().replace("train", "test", 1))
    assert [view.model for view in find_views(results)] == ["abmil"]
    assert "net/dsmil is not shown" in caplog.text and "predictions.csv" in caplog.text


def test_predictions_have_a_view(tmp_path, slide):
    out = make_predictions(tmp_path, [slide])
    (view,) = find_views(out)
    slides = slides_of(view)
    assert (
        list(slides) == ["s0", "007"] and slides["s0"]["probabilities"] == (0.7, 0.3) and slides["s0"]["spread"] == 0.2
    )
    assert slides["007"]["status"] == "missing" and slides["007"]["message"] == "no file"
    assert not slides["s0"]["label"] and slides["s0"]["predicted"] == "benign"
    shown = describe_slide(view, view.slides["s0"], OpenSlides())
    assert shown["missing"] == {} and json.dumps(shown, allow_nan=False)


def test_another_folder_is_refused(tmp_path, run):
    with pytest.raises(ConfigError, match="no folder at"):
        find_views(tmp_path / "none")
    for folder in (tmp_path, run / "mine/net/abmil/fold_0"):
        with pytest.raises(ConfigError, match="has no slides to show"):
            find_views(folder)
