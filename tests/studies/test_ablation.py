"""The ablation's table and plot, from drawn predictions."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t
from sklearn.metrics import roc_auc_score

from roformermil.bags.leakage import Finding
from roformermil.config import Config, Model, Training
from roformermil.config.base import to_json
from roformermil.errors import ModelError
from roformermil.evaluation.consistency import reasons_to_train_again
from roformermil.evaluation.fold_results import MODEL_FILE, FoldResult
from roformermil.features.store import write_store
from roformermil.studies.ablation import write_ablation
from roformermil.studies.plots import SHUFFLED, plot_ablation
from roformermil.studies.variants import list_variants
from tests.factories import SimulatedRun, write_training_files

VARIANTS = [("base", "ro", "ro"), ("position", "rope", "ro"), ("position", "none", "bag"), ("capacity", "plain", "bag")]
SLIDES, FOLDS, SEEDS = 40, 4, 2
LEAK = Finding("patients", "leak", 1, "1 patient is in two parts of a fold: p")


@pytest.fixture
def run(tmp_path):
    return simulate(tmp_path)


def simulate(folder):
    """Two models in four folds with two seeds: `ro` predicts well unless positions are shuffled, `bag` guesses and uses none.
    Every second four slides have scattered tiles."""
    run = SimulatedRun(folder)
    folds = run.add_dataset("d", ["a", "b"], SLIDES, FOLDS, findings=[LEAK])
    for seed, (model, strength) in enumerate({"ro": 0.8, "bag": 0.0}.items()):
        shuffled = 0.0 if model == "ro" else None
        run.add_model("d", folds, ["a", "b"], model, "e", strength, seed, seeds=SEEDS, shuffled_strength=shuffled)
    write_stores(run, lambda k: np.stack(np.divmod(np.arange(9 + k), 5), axis=1) * (2 if k // 4 % 2 else 1))
    return run


def write_stores(run, grid_of_slide):
    for k in range(SLIDES):
        grid = grid_of_slide(k)
        store = run.folder / f"d/features/e/s{k}.zarr"
        write_store(store, np.zeros((len(grid), 2)), grid * 256, grid, {})


def read_ablation(run, variants=VARIANTS, config="{}"):
    write_ablation(run.predictions, variants, "ro", {"d": run.folder / "d/features/e"}, run.folder, config)
    return pd.read_csv(run.folder / "ablation.csv")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The simulated run and its ablation.csv, not to be changed."""
    run = simulate(tmp_path_factory.mktemp("finished"))
    return run, read_ablation(run).set_index(["axis", "name", "part", "slides", "metric"]).sort_index()


def trainings_of(run, model, file="predictions.csv"):
    """The test slides of each training of a model, and its fold."""
    results = [result for result in map(FoldResult.at, run.predictions) if result.model == model]
    tables = [(result.fold, pd.read_csv(result.path.with_name(file))) for result in results]
    return [(fold, table.query("part == 'test'") if "part" in table else table) for fold, table in tables]


def mean_area(trainings, without=""):
    """The mean over folds of the mean over seeds of the AUROC without one patient."""
    rest = [(fold, table[table.patient_id != without]) for fold, table in trainings]
    areas = [(fold, roc_auc_score(table.label == "b", table.probability_b)) for fold, table in rest]
    return pd.DataFrame(areas, columns=["fold", "area"]).groupby("fold").area.mean().mean()


def test_each_variant_has_its_metrics_by_part_and_stratum(finished):
    run, table = finished
    assert set(table.reset_index().slides) == {"all", "sparse", "dense", "small", "large"}
    assert set(table.reset_index().query("part == 'test'").metric) == {"auroc", "average_precision", "pooled_auroc"}
    row = table.loc["position", "none", "test", "all", "auroc"]
    assert row["mean"] == pytest.approx(mean_area(trainings_of(run, "bag")))
    assert (row.parameters, row.trainings, row.seeds) == (1234, FOLDS * SEEDS, SEEDS)
    assert table.loc["capacity", "plain"].equals(table.loc["position", "none"])
    train = table.loc["position", "none", "train", "all", "auroc"]
    assert np.isfinite(train["mean"]) and np.isnan(train.ci_low)
    text = (run.folder / "ablation.md").read_text()
    assert "d: 4 folds of 2 seeds" in text and LEAK.detail in text
    assert "| base | ro | 1,234 |" in text and "Pooled AUROC" in text, "10 test slides per fold are few"


def test_positions_shuffled_are_a_column_of_the_models_that_use_them(finished):
    run, table = finished
    row = table.loc["position", "rope", "test", "all", "auroc"]
    repeats = [
        (fold, one) for fold, table in trainings_of(run, "ro", "shuffled.csv") for _, one in table.groupby("repeat")
    ]
    assert row.shuffled == pytest.approx(mean_area(repeats))
    assert row.shuffled_difference == pytest.approx(row["mean"] - row.shuffled) and row.difference_low > 0
    assert np.isnan(table.loc["position", "none", "test", "all", "auroc"].shuffled)
    text = (run.folder / "ablation.md").read_text()
    assert f"| {row.shuffled:.2f} | {row.shuffled_difference:+.2f} [{row.difference_low:+.2f}, " in text


def test_the_difference_from_the_varied_model_is_paired_by_patient(run):
    rng = np.random.default_rng(0)
    for path in run.predictions:  # `bag` predicts nearly as `ro` does
        if "bag" in path.parts:
            table = pd.read_csv(path.parents[2] / "ro" / path.parent.name / path.name)
            table.probability_b = np.clip(table.probability_b + rng.normal(0, 0.05, len(table)), 0, 1)
            table.assign(probability_a=1 - table.probability_b).to_csv(path, index=False)
            write_training_files(path)
    table = read_ablation(run).set_index(["axis", "name", "part", "slides", "metric"]).sort_index()
    row, base = (table.loc["position", name, "test", "all", "auroc"] for name in ("none", "rope"))
    bag, ro = trainings_of(run, "bag"), trainings_of(run, "ro")
    left_out = np.array([mean_area(bag, f"p{k}") - mean_area(ro, f"p{k}") for k in range(SLIDES)])
    error = np.sqrt(np.mean((left_out - left_out.mean()) ** 2) * (SLIDES - 1))
    difference, half = mean_area(bag) - mean_area(ro), t.ppf(0.975, SLIDES - FOLDS) * error
    values = row.base_difference, row.base_low, row.base_high
    assert values == pytest.approx((difference, difference - half, difference + half))
    assert row.base_high - row.base_low < 0.5 * (row.ci_high - row.ci_low), "narrow, since it is paired"
    assert base.base_difference == 0 and np.isnan(base.base_low)


def test_trainings_on_a_plateau_are_counted(run):
    for path in run.predictions:
        if "bag" in path.parts:
            losses = {"epoch": range(2), "train_loss": [0.70, 0.69], "validation_loss": [0.70, 0.70]}
            pd.DataFrame(losses).to_csv(path.with_name("history.csv"), index=False)
    counts = read_ablation(run).groupby("model").on_plateau.first()
    assert counts.bag == FOLDS * SEEDS > counts.ro
    assert "| 1,234 | 8 of 8 |" in (run.folder / "ablation.md").read_text()


def test_each_variant_must_have_been_trained_with_its_own_settings(tmp_path):
    run = SimulatedRun(tmp_path)
    folds = run.add_dataset("d", ["a", "b"], SLIDES, FOLDS)
    empty = {"positions": [], "scales": [], "localities": [], "layers": [], "capacity": False, "normalizations": []}
    dataset = {"slides": "s.csv", "root": ".", "classes": ["a", "b"]}
    config = Config(datasets={"d": dataset}, models=[Model(name="ro-abmil", id="ro")], ablation=empty)
    variants = list_variants(config)
    write_stores(run, lambda k: np.stack(np.divmod(np.arange(9 + k), 5), axis=1))

    def train(training_of):
        run.predictions.clear()
        for one in {variant.model.id: variant for variant in variants}.values():
            for path in run.add_model("d", folds, ["a", "b"], one.model.id, "e"):
                write_training_files(path, model=to_json(one.model), training=to_json(training_of(one)))

    def reasons(path):
        models = {one.model.id: one.model for one in variants}
        trainings = {one.model.id: one.training for one in variants}
        return reasons_to_train_again(path.with_name(MODEL_FILE), config, models, trainings)

    named = [(one.axis, one.name, one.model.id) for one in variants]
    train(lambda variant: variant.training)
    table = read_ablation(run, named, config.model_dump_json())
    assert set(table.name) == {"ro", "none", "flip", "rotate"}
    assert [reasons(path) for path in run.predictions] == [[]] * 3 * FOLDS
    train(lambda variant: Training())
    assert sum(bool(reasons(path)) for path in run.predictions) == 2 * FOLDS, "of all but the varied model"
    with pytest.raises(ModelError, match=r"augmentation-\w+, fold 0, 1, 2, 3: trained with training.augment_grid"):
        read_ablation(run, named, config.model_dump_json())


def test_the_plot_has_every_variant_by_part_and_stratum(finished):
    run, _ = finished
    table = pd.read_csv(run.folder / "ablation.csv")
    panels = np.reshape(plot_ablation(table, "ro").axes, (3, 2))
    assert [panel.get_title() for panel in panels[0]] == ["d: position", "d: capacity"]
    assert [tick.get_text() for tick in panels[0, 0].get_xticklabels()] == ["rope", "none"]
    drawn = {container.get_label(): container.lines[0].get_ydata() for row in panels for container in row[0].containers}
    assert set(drawn) == {"train", "validation", "test", SHUFFLED, "sparse", "dense", "small", "large"}
    tests = table.query("metric == 'auroc' and axis == 'position' and part == 'test'").set_index("slides")
    for slides, label in (("all", "test"), ("sparse", "sparse"), ("large", "large")):
        assert drawn[label].tolist() == tests["mean"][slides].tolist(), "rope, then none"
    assert drawn[SHUFFLED].tolist() == pytest.approx(tests.shuffled["all"].tolist(), nan_ok=True)
    assert (run.folder / "ablation.png").exists()


def test_strata_count_their_own_slides_only(run):
    for path in run.predictions:  # wrong on scattered slides, right on the others
        table = pd.read_csv(path)
        scattered = table.slide_id.str[1:].astype(int) // 4 % 2 == 1
        table.probability_b = np.where(scattered ^ (table.label == "b"), 0.9, 0.1)
        table.assign(probability_a=1 - table.probability_b).to_csv(path, index=False)
        write_training_files(path)
    table = read_ablation(run).query("name == 'ro'").set_index(["part", "slides", "metric"])
    assert (table["mean"]["test", "sparse", "auroc"], table["mean"]["test", "dense", "auroc"]) == (0, 1)


def test_without_slides_of_a_stratum_and_models_that_use_positions_there_is_no_value(run):
    """As where all slides have as many tiles, and where nothing but capacity is compared."""
    write_stores(run, lambda k: np.stack(np.divmod(np.arange(9), 5), axis=1))
    run.predictions = [path for path in run.predictions if "bag" in path.parts]
    variants = [("base", "bag", "bag"), ("capacity", "plain", "bag")]
    write_ablation(run.predictions, variants, "bag", {"d": run.folder / "d/features/e"}, run.folder)
    table, text = pd.read_csv(run.folder / "ablation.csv"), (run.folder / "ablation.md").read_text()
    assert set(table.slides) == {"all", "sparse", "small"}
    assert "| – |" in text and "| positions shuffled |" not in text
