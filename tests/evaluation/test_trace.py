"""A number walked back on a small real run: features, two folds trained, tables, then one link of the chain changed at a time."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from roformermil.bags.folds import make_folds, write_folds
from roformermil.bags.leakage import find_leaks, write_findings
from roformermil.cohort.slide_files import content_id
from roformermil.cohort.slide_sheet import Slide
from roformermil.cohort.slide_table import SlideRecord, read_slide_table, write_slides_csv
from roformermil.config import Folds, Leakage, Model, Training
from roformermil.errors import ConfigError
from roformermil.evaluation.tables import write_tables
from roformermil.evaluation.trace import trace_number
from roformermil.features.store import write_store
from roformermil.training import TrainingJob, train_fold

ROW = "model=mean,metric=auroc"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    tmp_path = tmp_path_factory.mktemp("made")
    root, rows, slides = tmp_path / "results", [], []
    for k in range(12):
        file = tmp_path / f"s{k}.svs"
        file.write_bytes(bytes([k]))
        store = root / f"set/features/net/s{k}.zarr"
        grid = np.stack([np.arange(5), np.zeros(5, int)], axis=1)
        write_store(store, np.full((5, 4), k / 12), grid, grid, {"fingerprint": f"f{k}", "encoder": "net"})
        rows.append(SlideRecord(f"s{k}", str(file), content=content_id(file), tiles=5, fingerprint=f"f{k}"))
        slides.append(Slide(f"s{k}", f"p{k}", "ab"[k % 2], str(file), None))
    write_slides_csv(root / "set/slides.csv", rows)
    folds = make_folds(slides, Folds(count=3), ["a", "b"])
    write_folds(root / "set/folds.csv", folds)
    paths = []
    for fold in range(3):
        out = root / f"set/net/mean/fold_{fold}"
        job = TrainingJob("set", fold, [row for row in folds if row.fold == fold], root / "set/features/net", ["a", "b"],
                  Model(name="mean", hidden_dim=8), Training(epochs=1))  # fmt: skip
        train_fold(job, out, progress=False)
        paths.append(out / "predictions.csv")
    write_findings(find_leaks(folds, slides, rows), Leakage(), Folds(), "set", root / "set/leakage.csv")
    write_tables(paths, [root / "set"], root, '{"models": ["mean"]}')
    return root


@pytest.fixture
def results(made, tmp_path):
    """A copy to change; the slide files stay where slides.csv has them, and are put right afterwards."""
    yield shutil.copytree(made, tmp_path / "results")
    (made.parent / "s4.svs").write_bytes(bytes([4]))


def test_a_number_leads_to_its_folds_models_features_and_slides(results):
    found = trace_number(results / "summary.csv", ROW, read_features=True)
    assert found["differs"] == []
    assert [fold["fold"] for fold in found["folds"]] == [0, 1, 2]
    assert np.mean([fold["auroc"] for fold in found["folds"]]) == pytest.approx(found["mean"])
    assert found["folds"][0]["model"]["hidden_dim"] == 8
    assert found["folds"][0]["run"]["torch"] == found["tables"]["run"]["torch"]
    assert found["tables"]["config"] == {"models": ["mean"]}
    assert {slide["slide_id"] for slide in found["slides"]} == {f"s{k}" for k in range(12)}
    assert trace_number(results / "summary.csv", "1")["metric"] == "auroc"


def predictions_edited(results):
    path = results / "set/net/mean/fold_1/predictions.csv"
    table = pd.read_csv(path)
    table["probability_b"] = 1 - table.probability_b - (table.label == "b")
    table.to_csv(path, index=False)


def features_made_anew(results):
    grid = np.zeros((5, 2), int)
    write_store(results / "set/features/net/s3.zarr", np.ones((5, 4)), grid, grid, {"fingerprint": "other"})


def slide_replaced(results):
    Path(next(row.path for row in read_slide_table(results / "set/slides.csv") if row.slide_id == "s4")).write_bytes(
        b"other"
    )


def column_edited(name):
    def edit(results):
        path = results / "summary.csv"
        table = pd.read_csv(path)
        table[name] += 0.1
        table.to_csv(path, index=False)

    return edit


def predictions_shifted_without_a_change_of_rank(results):
    path = results / "set/net/mean/fold_1/predictions.csv"
    table = pd.read_csv(path)
    table["probability_b"] /= 2
    table.to_csv(path, index=False)


def models_exchanged(results):
    folder = results / "set/net/mean"
    shutil.copy(folder / "fold_1/model.safetensors", folder / "fold_0/model.safetensors")


def folds_edited(results):
    path = results / "set/folds.csv"
    path.write_text(path.read_text().replace(",train", ",other", 1))  # of fold 0


def slide_struck_out(results):
    rows = read_slide_table(results / "set/slides.csv")
    write_slides_csv(results / "set/slides.csv", [row for row in rows if row.slide_id != "s2"])


def content_exchanged(results):
    stores = results / "set/features/net"
    shutil.rmtree(stores / "s6.zarr/features/c")
    shutil.copytree(stores / "s7.zarr/features/c", stores / "s6.zarr/features/c")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (predictions_edited, "fold 1: predictions.csv gives"),
        (features_made_anew, "s3: its features are not those that were trained on"),
        (slide_replaced, "s4.svs is another file than the one that was read"),
        *[(column_edited(name), f"summary.csv: {name} is") for name in ("mean", "std", "ci_low", "ci_high")],
        (predictions_shifted_without_a_change_of_rank, "is not what its model predicted"),
        (models_exchanged, "is the model of set, fold 1"),
        (folds_edited, "fold 0 is not divided as it was"),
        (slide_struck_out, "s2: was trained on and is not among the slides"),
        (content_exchanged, "s6: its features are not those"),
    ],
)
def test_what_changed_since_is_said(results, change, said):
    change(results)
    assert any(said in line for line in trace_number(results / "summary.csv", ROW, read_features=True)["differs"])


def test_a_file_that_is_gone_is_named(results):
    (results / "set/net/mean/fold_2/predictions.csv").unlink()
    with pytest.raises(ConfigError, match="fold_2/predictions.csv"):
        trace_number(results / "summary.csv", ROW)


def test_another_table_is_refused(results):
    with pytest.raises(ConfigError, match="summary.csv"):
        trace_number(results / "metrics.csv", "1")


@pytest.mark.parametrize("row", ["metric=auroc,model=none", "99", "auroc", "encoder=net"])
def test_a_row_that_is_not_one_is_an_error_that_lists_them(results, row):
    with pytest.raises(ConfigError, match="--row"):
        trace_number(results / "summary.csv", row)
