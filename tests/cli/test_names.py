"""Names that look like numbers, missing values, truth values or dates remain what they are, through every verb after training."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from matplotlib.figure import Figure
from typer.testing import CliRunner

from roformermil.bags.leakage import Finding
from roformermil.cli import app
from roformermil.config import Config
from roformermil.features.store import write_store
from roformermil.runtime.records import write_rows
from tests.factories import SimulatedRun, read_rows

NAMES = {  # of a data set, its classes and its encoder
    "numbers": ("2024", ["0", "1"], "1"),
    "missing values": ("NA", ["NA", "None"], "null"),
    "truth values and dates": ("1e5", ["true", "2024-01-01"], "no"),
    "one number": ("007", ["01", "1.0", "1"], "nan"),
}
MODELS = ["1", "1e5"]
SITE = "the site predicts the label: 01 and NA"


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=[pytest.mark.slow] * (name != "numbers")) for name in NAMES]
)
def names(request):
    return NAMES[request.param]


@pytest.fixture(scope="module")
def results(names, tmp_path_factory) -> Path:
    """The results of a run with these names, of slides and patients 000 to 023, and what every verb made of them."""
    dataset, classes, encoder = names
    run = SimulatedRun(tmp_path_factory.mktemp("run"))
    findings = [Finding("sites", "leak", 2, SITE)]
    folds = run.add_dataset(dataset, classes, findings=findings, ids=("{:03}", "{:03}"))
    paths = {name: run.add_model(dataset, folds, classes, name, encoder, 2.0, k) for k, name in enumerate(MODELS)}
    folder, stores, grid = run.folder, run.folder / dataset / "features" / encoder, np.arange(8).reshape(4, 2)
    for k in range(24):
        write_store(stores / f"{k:03}.zarr", np.zeros((4, 2)), grid * 256, grid, {"encoder": encoder})
        (folder / f"{k:03}.jpg").touch()
    data = {"slides": "s.csv", "root": ".", "classes": classes}
    config = Config(datasets={dataset: data}, models=[{"name": "mean", "id": name} for name in MODELS])
    variants = json.dumps([["scale", name, name] for name in MODELS])
    settings = ["--config", config.model_dump_json()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", lambda figure, path, **_: Path(path).touch())  # drawing takes long
        call("evaluate", *run.predictions, "--datasets", dataset, "--out", folder, *settings)
        call("plots", *run.predictions, "--out", folder / "plots")
        call("pages", folder, "--datasets", dataset)
        call("gallery", *paths["1e5"], "--heatmaps", folder, "--out", folder / "gallery")
        call("package", *paths["1e5"], "--data", folder / dataset, "--features", stores, "--out", folder / "model")
        options = ["--variants", variants, "--base", "1", "--datasets", dataset, "--encoder", encoder, "--out", folder]
        call("ablation", *run.predictions, *options)
    return folder


def call(*arguments) -> str:
    """The output of the command line; fails where the command does."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_tables_and_pages_have_the_names_as_they_are(results, names):
    dataset, classes, encoder = names
    for name in ("metrics", "summary", "classes", "calibration", "confusion", "cautions", "ablation"):
        assert {(row["dataset"], row["encoder"]) for row in read_rows(results / f"{name}.csv")} == {(dataset, encoder)}
    assert {row["class"] for row in read_rows(results / "classes.csv")} == set(classes)
    assert {(row["model"], row["against"]) for row in read_rows(results / "comparisons.csv")} == {("1e5", "1")}
    counts = ", ".join(f"{24 // len(classes)} {name} ({24 // len(classes)} patients)" for name in classes)
    report = (results / "report.html").read_text()
    assert f"<tr><td>{dataset}</td><td>24</td><td>24</td><td>{counts}</td><td>3</td>" in report
    assert f"<td>{classes[1] if len(classes) == 2 else 'each against the rest'}</td></tr>" in report
    assert f"{dataset}: the site predicts the label, so a model may have learned the site ({SITE})" in report
    assert f"Encoder: {encoder}." in report
    for model in MODELS:
        assert f"<tr><td>{model}</td><td><span" in report
        assert f"<tr><td>{dataset}</td><td>{encoder}</td><td>{model}</td>" in report
    assert f"| model | {dataset} ({encoder}) |" in (results / "summary.md").read_text()
    assert "| scale | 1e5 | 1,234 |" in (results / "ablation.md").read_text()


def test_a_number_is_traced_by_these_names(results, names):
    dataset, _, encoder = names
    row = f"dataset={dataset},encoder={encoder},model=1e5,metric=auroc"
    trace = yaml.safe_load(call("trace", results / "summary.csv", "--row", row))
    assert trace["differs"] == "nothing"
    assert (trace["dataset"], trace["encoder"], trace["model"]) == (dataset, encoder, "1e5")
    assert trace["all_folds"]["model"]["id"] == "1e5"


def test_heat_maps_are_chosen_for_each_class_and_the_packaged_model_has_the_names(results, names):
    dataset, classes, encoder = names
    assert {path.name for path in (results / "gallery").iterdir()} == set(classes)
    card = json.loads((results / "model/model.json").read_text())
    assert (card["classes"], card["name"], card["features"]["encoder"]) == (classes, f"{dataset}, 1e5", encoder)
    assert card["training_data"]["labels"] == {name: 24 // len(classes) for name in classes}
    assert card["training_data"]["patients"] == 24


def test_the_overhead_has_the_names_of_models(tmp_path):
    run = {"tiles": 5, "parameters": 9, "device": "NA", "threads": 1, "status": "ok", "repeat": 0, "seconds": 1.0}
    run |= {"memory_gb": 1.0, "gpu_utilisation": float("nan")}
    rows = [{"model": model, "what": what, **run} for model in ("01", "1e5", "NA") for what in ("inference", "step")]
    write_rows(tmp_path / "runs.csv", rows)
    call("overhead", tmp_path / "runs.csv", "--out", tmp_path)
    assert [row["model"] for row in read_rows(tmp_path / "overhead.csv")[::6]] == ["01", "1e5", "NA"]
    text = (tmp_path / "overhead.md").read_text()
    assert all(f"| {model} | 9 | 5 |" in text for model in ("01", "1e5", "NA")) and "; NA, 1 threads" in text
