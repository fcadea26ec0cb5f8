import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file
from scipy.stats import t

from roformermil.bags.leakage import Finding, write_findings
from roformermil.cohort.slide_table import SlideRecord, write_slides_csv
from roformermil.config import Folds, Leakage
from roformermil.evaluation.metrics import auroc
from roformermil.features.store import write_store
from roformermil.studies.ablation import VariantName, write_ablation

ARMS = [
    VariantName("position", "rope", "ro"),
    VariantName("position", "none", "bag"),
    VariantName("capacity", "plain", "bag"),
]
SLIDES, FOLDS = 40, 4


@pytest.fixture
def results(tmp_path):
    """Predictions of two models in four folds: `ro` near the truth, `bag` chance; half of the slides are scattered."""
    rng = np.random.default_rng(0)
    labels = np.arange(SLIDES) % 2
    for model, strength in (("ro", 2.0), ("bag", 0.0)):
        for fold in range(FOLDS):
            folder = tmp_path / f"d/e/{model}/fold_{fold}"
            folder.mkdir(parents=True)
            p = 1 / (1 + np.exp(-strength * (2 * labels - 1) - rng.normal(size=SLIDES)))
            part = [{0: "test", 1: "validation"}.get((k // 2 - fold) % FOLDS, "train") for k in range(SLIDES)]
            table = {
                "slide_id": [f"s{k}" for k in range(SLIDES)],
                "patient_id": "p",
                "label": ["ab"[y] for y in labels],
            }
            pd.DataFrame(table | {"part": part, "probability_a": 1 - p, "probability_b": p}).to_csv(
                folder / "predictions.csv", index=False
            )
            save_file({"w": np.zeros(1)}, folder / "model.safetensors", {"parameters": "1234"})
    write_slides_csv(tmp_path / "d/slides.csv", [SlideRecord(f"s{k}", "x.svs") for k in range(SLIDES)])
    leak = Finding("patients", "leak", 1, "1 patients are in two parts of a fold: p")
    write_findings([leak], Leakage(), Folds(mode="paper"), "d", tmp_path / "d/leakage.csv")
    for k in range(SLIDES):
        grid = np.stack(np.divmod(np.arange(9 + k), 5), axis=1) * (2 if k // 4 % 2 else 1)
        write_store(tmp_path / f"d/features/e/s{k}.zarr", np.zeros((len(grid), 2)), grid * 256, grid, {})
    return tmp_path


def test_the_table_has_each_arm_by_part_and_half_with_its_difference_on_the_same_folds(results):
    write_ablation(
        sorted(results.glob("d/e/*/*/predictions.csv")), ARMS, "ro", {"d": results / "d/features/e"}, results
    )
    table = pd.read_csv(results / "ablation.csv").set_index(["axis", "name", "part", "slides", "metric"]).sort_index()
    assert set(table.index.get_level_values("slides")) == {"all", "sparse", "dense", "small", "large"}
    areas = {"ro": [], "bag": []}
    for model, values in areas.items():
        for fold in range(FOLDS):
            rows = pd.read_csv(results / f"d/e/{model}/fold_{fold}/predictions.csv")
            rows = rows[rows.part == "test"]
            values.append(auroc((rows.label == "b").to_numpy(int), rows[["probability_a", "probability_b"]].to_numpy()))
    row = table.loc["position", "none", "test", "all", "auroc"]
    assert row["mean"] == pytest.approx(np.mean(areas["bag"]))
    differences = np.subtract(areas["bag"], areas["ro"])
    assert row.difference == pytest.approx(differences.mean())
    half = t.ppf(0.975, FOLDS - 1) * differences.std(ddof=1) * np.sqrt(1 / FOLDS + 10 / 20)  # 10 test, 20 train
    assert row.difference_low == pytest.approx(max(-1, differences.mean() - half))
    assert row.difference_high == pytest.approx(differences.mean() + half)
    assert row.parameters == 1234
    assert table.loc["position", "rope", "test", "all", "auroc"].difference == 0
    assert table.loc["capacity", "plain"].equals(table.loc["position", "none"])
    assert np.isnan(table.loc["position", "none", "train", "all", "auroc"].ci_low)
    text = (results / "ablation.md").read_text()
    assert "| position | rope | 1,234 |" in text
    assert "10 test slides a fold are few" in text and "the same patients train and test" in text
    assert (results / "ablation.png").read_bytes()[:4] == b"\x89PNG"


def test_halves_count_their_own_slides_alone(results):
    for path in results.glob("d/e/ro/*/predictions.csv"):  # wrong on scattered slides, right on the others
        table = pd.read_csv(path)
        scattered = table.slide_id.str[1:].astype(int) // 4 % 2 == 1
        table.probability_b = np.where(scattered ^ (table.label == "b"), 0.9, 0.1)
        table.assign(probability_a=1 - table.probability_b).to_csv(path, index=False)
    write_ablation(
        sorted(results.glob("d/e/ro/*/predictions.csv")), ARMS[:1], "ro", {"d": results / "d/features/e"}, results
    )
    table = pd.read_csv(results / "ablation.csv").set_index(["part", "slides", "metric"]).sort_index()
    assert table.loc[("test", "sparse", "auroc"), "mean"] == 0
    assert table.loc[("test", "dense", "auroc"), "mean"] == 1
