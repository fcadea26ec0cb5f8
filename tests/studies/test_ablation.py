import numpy as np
import pandas as pd
import pytest
from scipy.stats import t
from sklearn.metrics import roc_auc_score

from roformermil.bags.leakage import Finding
from roformermil.features.store import write_store
from roformermil.studies.ablation import write_ablation
from roformermil.studies.plots import plot_ablation
from tests.factories import SimulatedRun, write_training_files

VARIANTS = [("position", "rope", "ro"), ("position", "none", "bag"), ("capacity", "plain", "bag")]
SLIDES, FOLDS = 40, 4
LEAK = Finding("patients", "leak", 1, "1 patient is in two parts of a fold: p")


@pytest.fixture
def run(tmp_path):
    """Two models in four folds: `ro` predicts well, `bag` guesses. Every second four slides have scattered tiles."""
    run = SimulatedRun(tmp_path)
    folds = run.add_dataset("d", ["a", "b"], SLIDES, FOLDS, findings=[LEAK])
    for seed, (model, strength) in enumerate({"ro": 2.0, "bag": 0.0}.items()):
        run.add_model("d", folds, ["a", "b"], model, "e", strength, seed)
    for k in range(SLIDES):
        grid = np.stack(np.divmod(np.arange(9 + k), 5), axis=1) * (2 if k // 4 % 2 else 1)
        write_store(tmp_path / f"d/features/e/s{k}.zarr", np.zeros((len(grid), 2)), grid * 256, grid, {})
    return run


def read_ablation(run, predictions, variants):
    write_ablation(predictions, variants, "ro", {"d": run.folder / "d/features/e"}, run.folder)
    return pd.read_csv(run.folder / "ablation.csv")


def test_each_variant_has_its_metrics_by_part_and_stratum_and_its_difference_on_the_same_folds(run):
    keys = ["axis", "name", "part", "slides", "metric"]
    table = read_ablation(run, run.predictions, VARIANTS).set_index(keys).sort_index()
    assert set(table.index.get_level_values("slides")) == {"all", "sparse", "dense", "small", "large"}
    areas = {"ro": [], "bag": []}
    for path in run.predictions:
        rows = pd.read_csv(path).query("part == 'test'")
        areas[path.parts[-3]].append(roc_auc_score(rows.label == "b", rows.probability_b))
    row = table.loc["position", "none", "test", "all", "auroc"]
    differences = np.subtract(areas["bag"], areas["ro"])
    mean, half = differences.mean(), t.ppf(0.975, FOLDS - 1) * differences.std(ddof=1) * np.sqrt(1 / FOLDS + 10 / 20)
    values = row["mean"], row.difference, row.difference_low, row.difference_high, row.parameters
    assert values == pytest.approx((np.mean(areas["bag"]), mean, max(-1, mean - half), mean + half, 1234))
    assert table.loc["position", "rope", "test", "all", "auroc"].difference == 0
    assert table.loc["capacity", "plain"].equals(table.loc["position", "none"])
    assert np.isnan(table.loc["position", "none", "train", "all", "auroc"].ci_low)
    text = (run.folder / "ablation.md").read_text()
    assert "| position | rope | 1,234 |" in text and "d: 10 test slides" in text and LEAK.detail in text


def test_the_plot_has_every_variant_by_part_and_stratum(run):
    table = read_ablation(run, run.predictions, VARIANTS)
    panels = np.reshape(plot_ablation(table, "ro").axes, (3, 2))
    assert [panel.get_title() for panel in panels[0]] == ["d: position", "d: capacity"]
    assert [tick.get_text() for tick in panels[0, 0].get_xticklabels()] == ["rope", "none"]
    drawn = {container.get_label(): container.lines[0].get_ydata() for row in panels for container in row[0].containers}
    assert set(drawn) == {"train", "validation", "test", "sparse", "dense", "small", "large"}
    means = table.query("metric == 'auroc' and axis == 'position' and part == 'test'").set_index("slides")["mean"]
    for slides, label in (("all", "test"), ("sparse", "sparse"), ("large", "large")):
        assert drawn[label].tolist() == means[slides].tolist(), "rope, then none"
    assert (run.folder / "ablation.png").exists()


def test_strata_count_their_own_slides_only(run):
    predictions = [path for path in run.predictions if "ro" in path.parts]
    for path in predictions:  # wrong on scattered slides, right on the others
        table = pd.read_csv(path)
        scattered = table.slide_id.str[1:].astype(int) // 4 % 2 == 1
        table.probability_b = np.where(scattered ^ (table.label == "b"), 0.9, 0.1)
        table.assign(probability_a=1 - table.probability_b).to_csv(path, index=False)
        write_training_files(path)
    means = read_ablation(run, predictions, VARIANTS[:1]).set_index(["part", "slides", "metric"])["mean"]
    assert (means["test", "sparse", "auroc"], means["test", "dense", "auroc"]) == (0, 1)


def test_a_stratum_without_slides_has_no_metrics(run):
    grid = np.stack(np.divmod(np.arange(9), 5), axis=1)
    for k in range(SLIDES):
        write_store(run.folder / f"d/features/e/s{k}.zarr", np.zeros((9, 2)), grid * 256, grid, {})
    table = read_ablation(run, run.predictions, VARIANTS).query("slides in ('dense', 'large')")
    assert len(table) == 2 * 3 * 2 and table[["mean", "difference"]].isna().all(axis=None)
