"""The search's tables and plot, from drawn predictions."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t
from sklearn.metrics import log_loss, roc_auc_score

from roformermil.bags.folds import read_folds, rows_fingerprint
from roformermil.config import Config
from roformermil.config.base import read_settings, to_json
from roformermil.errors import ConfigError, ModelError
from roformermil.evaluation.predictions import out_of_fold
from roformermil.runtime import stage_versions
from roformermil.runtime.files import file_sha256
from roformermil.studies.search import read_models, search_metrics, write_search
from roformermil.studies.search_plot import plot_search
from roformermil.studies.search_space import list_searches
from roformermil.studies.trials import read_choice, write_choice
from tests.factories import SimulatedRun, write_predictions_csv, write_training_files

SLIDES, FOLDS, CLASSES = 24, 4, ["a", "b"]
SPACE = {"learning_rate": [1e-3, 1e-2], "dropout": [0.0, 0.5]}
KEYS = ["setting", "metric"]


def configuration(epochs=50, **search):
    return read_settings(
        Config,
        {
            "datasets": {"d": {"slides": "s.csv", "root": ".", "classes": CLASSES}},
            "encoder": {"name": "imported", "id": "net"},
            "models": [{"name": "mean", "id": "m"}],
            "folds": {"count": FOLDS},
            "training": {"epochs": epochs},
            "search": {"space": SPACE, "budget": 4, **search},
        },
    )


def write_trial(folder, setting, rows, strength, rng):
    """A trial's files, with predictions that are drawn."""
    rows = [row for row in rows if row.part != "test"]
    validation = [row for row in rows if row.part == "validation"]
    truth = np.array([row.label == "b" for row in validation])
    score = 1 / (1 + np.exp(-strength * (2 * truth - 1) - rng.normal(size=len(truth))))
    columns = {name: [getattr(row, name) for row in validation] for name in ("slide_id", "patient_id", "label", "part")}
    table = pd.DataFrame(columns | {"probability_a": 1 - score, "probability_b": score})
    write_predictions_csv(folder / "validation.csv", table)
    pd.DataFrame({"epoch": range(3)}).to_csv(folder / "history.csv", index=False)
    metadata = {
        "model": to_json(setting.model),
        "training": to_json(setting.training),
        "classes": json.dumps(CLASSES),
        "train_version": str(stage_versions.TRAIN),
        "rows": rows_fingerprint(rows),
        "validation": file_sha256(folder / "validation.csv"),
    }
    (folder / "trial.json").write_text(json.dumps(metadata))


def simulate(folder, config):
    """Trials of which the later ones predict better, and the folds of the default and of what was chosen."""
    run, rng = SimulatedRun(folder), np.random.default_rng(0)
    folds = run.add_dataset("d", CLASSES, SLIDES, FOLDS)
    for seed, (model, strength) in enumerate({"m": 0.5, "m.searched": 1.0}.items()):
        run.add_model("d", folds, CLASSES, model, "net", strength, seed)
    settings = list_searches(config)["m"]
    searched = config.models[0].model_copy(update={"id": "m.searched"})
    for path in run.predictions:
        write_training_files(path, training=to_json(config.training), model=to_json(config.models[0]))
    for fold in range(FOLDS):
        search = folder / f"d/net/m/search/fold_{fold}"
        for k, (name, setting) in enumerate(settings.items()):
            write_trial(search / name, setting, read_folds(folder / "d/folds.csv", fold), k, rng)
        write_choice([search / name / "trial.json" for name in settings], config.search.score, search / "chosen.json")
        _, model, training = read_choice(search / "chosen.json", searched, config.training)
        path = folder / f"d/net/m.searched/fold_{fold}/predictions.csv"
        write_training_files(path, training=to_json(training), model=to_json(model))
    return run


@pytest.fixture
def run(tmp_path):
    return simulate(tmp_path, configuration())


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A simulated run with its tables, not to be changed."""
    folder = tmp_path_factory.mktemp("finished")
    run = simulate(folder, config := configuration())
    write_search(folder, config.model_dump_json())
    return run, pd.read_csv(folder / "search.csv").set_index(KEYS), pd.read_csv(folder / "search_trials.csv")


def read_fold_tables(run, model):
    return [pd.read_csv(run.folder / f"d/net/{model}/fold_{fold}/predictions.csv") for fold in range(FOLDS)]


def mean_score(tables, part, score, without=""):
    """The mean over folds of a score of a part's slides without one patient's."""
    chosen = [table[(table.part == part) & (table.patient_id != without)] for table in tables]
    return np.mean([score(table.label == "b", table.probability_b) for table in chosen])


@pytest.mark.parametrize(("metric", "score"), [("auroc", roc_auc_score), ("log_loss", log_loss)])
def test_settings_are_compared_by_patient(finished, metric, score):
    run, table, _ = finished
    tables = {"default": read_fold_tables(run, "m"), "chosen": read_fold_tables(run, "m.searched")}

    def expected(value):
        """The value of all patients, and its 95% interval from leaving each of them out."""
        left_out = np.array([value(f"p{k}") for k in range(SLIDES)])
        half = t.ppf(0.975, SLIDES - FOLDS) * np.sqrt(np.mean((left_out - left_out.mean()) ** 2) * (SLIDES - 1))
        most = np.inf if metric == "log_loss" else 1
        return value(""), *np.clip([value("") - half, value("") + half], -most, most)

    for setting, own in tables.items():
        row = table.loc[setting, metric]
        assert row.validation == pytest.approx(mean_score(own, "validation", score))
        test = expected(lambda left, own=own: mean_score(own, "test", score, left))
        assert (row["mean"], row.ci_low, row.ci_high) == pytest.approx((test[0], max(0, test[1]), test[2]))
        optimism = expected(
            lambda left, own=own: mean_score(own, "validation", score, left) - mean_score(own, "test", score, left)
        )
        assert (row.optimism, row.optimism_low, row.optimism_high) == pytest.approx(optimism)
    gain = expected(
        lambda left: (
            mean_score(tables["chosen"], "test", score, left) - mean_score(tables["default"], "test", score, left)
        )
    )
    row = table.loc["chosen", metric]
    assert (row.default_difference, row.default_low, row.default_high) == pytest.approx(gain)
    assert table.loc["default", metric].default_difference == 0 and np.isnan(table.loc["default", metric].default_low)


def test_the_log_loss_is_scikit_learns(finished):
    run, _, _ = finished
    config = configuration()
    choices = {fold: run.folder / f"d/net/m/search/fold_{fold}/chosen.json" for fold in range(FOLDS)}
    default, _ = read_models(run.folder, config, "d", config.models[0], choices)
    model = out_of_fold(default)[0]
    weights = np.random.default_rng(0).integers(0, 3, (5, len(model.targets))).astype(float)
    probabilities = model.predictions.copy()
    probabilities[0] = [0, 1]  # as certain as wrong or right
    values = search_metrics(model.targets, probabilities, weights)["log_loss"]
    expected = [log_loss(model.targets, probabilities, sample_weight=one) for one in weights]
    assert values == pytest.approx(expected)


def test_every_trial_is_a_row_with_the_best_up_to_it(finished):
    run, _, trials = finished
    assert len(trials) == 4 * FOLDS and trials.groupby("fold").chosen.sum().tolist() == [1] * FOLDS
    for fold, tried in trials.groupby("fold"):
        tables = [
            pd.read_csv(run.folder / f"d/net/m/search/fold_{fold}/{name}/validation.csv") for name in tried.setting
        ]
        losses = [log_loss(table.label == "b", table.probability_b) for table in tables]
        assert tried.loss.tolist() == pytest.approx(losses)
        assert tried.winner.tolist() == [tried.setting.iloc[int(np.argmin(losses[: k + 1]))] for k in range(4)]
        assert tried.setting[tried.chosen].item() == tried.winner.iloc[-1]


def test_people_read_what_the_search_gained_and_what_was_chosen(finished):
    run, table, trials = finished
    text, row = (run.folder / "search.md").read_text(), table.loc["chosen", "auroc"]
    assert "## d (net), m: 4 trainings per fold, chosen by validation log loss" in text
    assert f"changes AUROC on test slides by {row.default_difference:+.2f} [{row.default_low:+.2f}" in text
    assert f"exceeds that on test slides by {row.optimism:+.2f} [" in text
    for fold, setting in trials[trials.chosen].set_index("fold").setting.items():
        assert f"| {fold} | {setting.replace(',', ', ')} | " in text
    assert (run.folder / "search.png").exists() and (run.folder / "search_provenance.json").exists()


def test_the_plot_has_the_winners_curve_and_the_tests(finished):
    _, table, trials = finished
    figure = plot_search(table.reset_index(), trials, "loss")
    panels = {panel.get_title().split(": ")[1]: panel for panel in figure.axes}
    panel = panels["log loss (lower is better) (chooses)"]
    curve = next(line for line in panel.lines if line.get_label() == "validation, winner").get_ydata()
    best = trials.groupby("fold").loss.cummin()
    assert curve.tolist() == pytest.approx(best.groupby(trials.trial).mean().tolist())
    drawn = {one.get_label(): one.lines[0].get_xydata()[0].tolist() for one in panel.containers}
    means = table["mean"].xs("log_loss", level="metric")
    assert drawn == {"test, default": [1, means["default"]], "test, chosen": [4, means["chosen"]]}


def test_a_trial_that_has_seen_test_slides_is_refused(run):
    config, path = configuration(), run.folder / "d/net/m/search/fold_2/default/trial.json"
    metadata = json.loads(path.read_text())
    metadata["rows"] = rows_fingerprint(read_folds(run.folder / "d/folds.csv", 2))
    path.write_text(json.dumps(metadata))
    with pytest.raises(ModelError, match="fold_2/default/trial.json: folds.csv divides its slides in another way"):
        write_search(run.folder, config.model_dump_json())


def test_trials_choices_and_folds_of_other_settings_are_refused(run):
    with pytest.raises(ModelError, match="default/trial.json: trained with training.epochs 50 instead of 3"):
        write_search(run.folder, configuration(epochs=3).model_dump_json())
    with pytest.raises(ModelError, match="not the best of these trials"):
        for fold in range(FOLDS):
            search = run.folder / f"d/net/m/search/fold_{fold}"
            content = json.loads((search / "chosen.json").read_text())
            (search / "chosen.json").write_text(json.dumps(content | {"setting": "default"}))
        write_search(run.folder, configuration().model_dump_json())


def test_nothing_is_written_without_a_space(tmp_path):
    with pytest.raises(ConfigError, match="nothing to search"):
        write_search(tmp_path, configuration(space=None).model_dump_json())
