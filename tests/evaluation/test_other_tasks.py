"""Tables of survival and of regression: their metrics, intervals and comparisons, and what only classes have."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import mean_absolute_error, r2_score

from roformermil.bags.folds import FoldRow, write_folds
from roformermil.bags.leakage import write_findings
from roformermil.cohort.slide_table import SlideRecord, write_slides_csv
from roformermil.config import Folds, Leakage
from roformermil.evaluation.cautions import has_few_tests
from roformermil.evaluation.chance import chance_warning
from roformermil.evaluation.external import drop_sentence
from roformermil.evaluation.fold_results import SHUFFLED_FILE, FoldResult
from roformermil.evaluation.intervals import patient_intervals
from roformermil.evaluation.patients import mixed_patients
from roformermil.evaluation.predictions import out_of_fold, read_table
from roformermil.evaluation.tables import write_tables
from roformermil.evaluation.trace import trace_number
from roformermil.tasks.regression import Regression
from roformermil.tasks.survival import Survival, concordance
from tests.evaluation.test_external import describe
from tests.factories import NO_LEAK, SimulatedRun, draw_predictions, survival_labels, write_predictions_csv

FOLDS, PATIENTS = 4, 60
OF_CLASSES = [
    "calibration",
    "classes",
    "confusion",
    "decisions",
    "operating_points",
    "decision_curves",
    "abstention",
    "probabilities",
]


def number_labels(count: int, seed: int = 0) -> list[str]:
    return [f"{value:.2f}" for value in np.random.default_rng(seed).normal(20, 5, count)]


TASKS = {
    "survival": (Survival().fit(survival_labels(PATIENTS)), survival_labels),
    "regression": (Regression().fit(number_labels(PATIENTS)), number_labels),
}


@pytest.fixture(scope="module", params=TASKS)
def run(request, tmp_path_factory) -> SimulatedRun:
    """`in`, with a model that guesses and one that does not and uses position; patients have one or two slides; `out`, which is
    external and harder; and the tables."""
    task, labels_of = TASKS[request.param]
    run = SimulatedRun(tmp_path_factory.mktemp(request.param))
    labels = labels_of(PATIENTS)
    of_slide = [labels[k // 2 if k < 40 else k - 20] for k in range(PATIENTS + 20)]
    folds = run.add_dataset("in", slides=PATIENTS + 20, folds=FOLDS, labels=of_slide)
    numbers = folds.slide_id.str[1:].astype(int)
    patient = numbers.where(numbers >= 40, numbers // 2).where(numbers < 40, numbers - 20)
    turn = (patient - folds.fold) % FOLDS  # a patient's slides are in one part
    parts = turn.map({0: "test", 1: "validation"}).fillna("train")
    folds = folds.assign(patient_id="p" + patient.astype(str), part=parts)
    write_folds(run.folder / "in/folds.csv", [FoldRow(**row) for row in folds.to_dict("records")])
    run.add_model("in", folds, task, "abmil", strength=0.3, seed=1)
    run.add_model("in", folds, task, "ro-abmil", strength=2.0, seed=2, shuffled_strength=0.1)
    add_external(run, task, labels_of(30, seed=5))
    write_tables(run.predictions, run.datasets, run.folder)
    return run


def add_external(run, task, labels):
    rng, data = np.random.default_rng(7), run.folder / "out"
    slides = [(f"e{k}", f"q{k}", label) for k, label in enumerate(labels)] + [("bare", "bare", "")]
    write_folds(data / "folds.csv", [FoldRow(fold, *slide, "test") for fold in range(FOLDS) for slide in slides])
    write_slides_csv(data / "slides.csv", [SlideRecord(slide[0], data / "e.svs") for slide in slides])
    write_findings([NO_LEAK], Leakage(), Folds(), "out", data / "leakage.csv")
    run.datasets.append(data)
    for model in ("abmil", "ro-abmil"):
        for fold in range(FOLDS):
            values = draw_predictions(task, [*labels, labels[0]], 0.1, rng)
            table = pd.DataFrame(slides, columns=["slide_id", "patient_id", "label"]).assign(part="test")
            table = table.assign(**dict(zip(task.columns, values.T, strict=True)))
            path = data / f"net/{model}/fold_{fold}/predictions.csv"
            write_predictions_csv(path, table)
            write_predictions_csv(path.with_name(SHUFFLED_FILE), table.drop(columns="part").assign(repeat=0)[:0])
            describe(run, path)
            run.predictions.append(path)


def models_of(run):
    return {(one.dataset, one.model): one for one in out_of_fold([FoldResult.at(path) for path in run.predictions])}


def rows_of(run, table, **values):
    rows = read_table(run.folder / f"{table}.csv")
    return rows[(rows[list(values)] == pd.Series(values)).all(axis=1)]


def expected_metrics(model) -> dict[str, float]:
    """By other means than the task's: scikit-learn's, scipy's, and every pair of patients in turn."""
    if isinstance(model.task, Regression):
        truth, predicted = model.targets, model.predictions[:, 0]
        values = r2_score(truth, predicted), pearsonr(truth, predicted)[0], mean_absolute_error(truth, predicted)
        return dict(zip(("r2", "pearson", "mae"), values, strict=True))
    scores = [
        np.sign(model.predictions[a, 0] - model.predictions[b, 0]) / 2 + 0.5
        for a, (time, event) in enumerate(model.targets)
        for b, (other, other_event) in enumerate(model.targets)
        if event and (time < other or (time == other and not other_event))
    ]
    return {"c_index": float(np.mean(scores))}


def mean_over_tests(model) -> dict[str, float]:
    return pd.DataFrame([expected_metrics(model.select(tested)) for tested in model.tests]).mean().to_dict()


def test_metrics_are_means_over_folds_with_intervals_by_patient(run):
    """Each interval is Student's t times the jackknife error of leaving out one patient with all of their slides."""
    model = models_of(run)["in", "ro-abmil"]
    table = rows_of(run, "summary", dataset="in", model="ro-abmil").set_index("metric")
    whole = mean_over_tests(model)
    assert list(table.index) == list(model.task.metrics) == list(whole)
    assert table["mean"].to_dict() == pytest.approx(whole)
    names = sorted(set(model.patients))
    without = pd.DataFrame([mean_over_tests(model.select(model.patients != name)) for name in names])
    error = np.sqrt((len(names) - 1) * without.var(ddof=0))
    from scipy.stats import t

    half = t.ppf(0.975, len(names) - FOLDS) * error
    for metric, row in table.iterrows():
        low, high = model.task.bounds_of(metric)
        bounds = max(low, whole[metric] - half[metric]), min(high, whole[metric] + half[metric])
        assert (row.ci_low, row.ci_high) == pytest.approx(bounds)
        assert patient_intervals(model, model.task.weighted_metrics)[metric] == pytest.approx(bounds)


def test_intervals_end_where_a_metric_ends_and_not_at_0_and_1(run):
    table = read_table(run.folder / "summary.csv").set_index("metric")
    if "mae" in table.index:
        assert (table.loc["mae"].ci_high > 1).all() and (table.loc["r2"].ci_low < 0).any()
    else:
        assert table.ci_low.min() >= 0 and table.ci_high.max() <= 1


def test_what_only_classes_have_is_empty_and_keeps_its_columns(run):
    for name in OF_CLASSES:
        table = read_table(run.folder / f"{name}.csv")
        assert table.empty and {"dataset", "model"} <= set(table), name
    assert "pooled" not in (run.folder / "summary.md").read_text()


def test_models_are_compared_by_the_metrics_of_the_task(run):
    task = models_of(run)["in", "abmil"].task
    internal, external = (rows_of(run, "comparisons", dataset=name) for name in ("in", "out"))
    assert internal.metric.tolist() == list(task.compared) and set(internal.test) == {"corrected_t"}
    assert external.metric.tolist() == list(task.compared) and set(external.test) == {"jackknife"}
    main = internal.iloc[0]
    assert main.model == "ro-abmil" and main.difference > 0 and main.ci_low < main.difference < main.ci_high


def test_positions_are_judged_by_the_main_metric(run):
    title = "C-index" if "survival" in str(run.folder) else "R2"
    row = rows_of(run, "summary", dataset="in", model="ro-abmil").iloc[0]
    text = (run.folder / "summary.md").read_text()
    assert row.shuffled_difference == pytest.approx(row["mean"] - row.shuffled) and row.difference_low > 0
    assert f"in, ro-abmil: Shuffling tile positions lowers {title} by {row.shuffled_difference:.2f}" in text
    assert f"| {title} [95% interval] |" in text and "AUROC" not in text


def test_the_drop_is_above_0_where_external_slides_are_predicted_worse(run):
    """Also of an error, which is larger there."""
    table = rows_of(run, "external", model="ro-abmil", level="slide").set_index("metric")
    assert (table["drop"] > 0).all() and (table.slides == 30).all()
    for metric, row in table.iterrows():
        sign = -1 if metric == "mae" else 1
        assert row["drop"] == pytest.approx(sign * (row.internal - row.members))
        assert row.drop_low < row["drop"] < row.drop_high
        sentence = drop_sentence(row.to_dict() | {"metric": metric})
        assert f"it is {'larger' if metric == 'mae' else 'lower'} on external slides by " in sentence
    assert ("of mean absolute error the reverse" in (run.folder / "summary.md").read_text()) == ("mae" in table.index)


def test_patients_count_once_with_the_mean_prediction(run):
    model = models_of(run)["in", "ro-abmil"]
    table = rows_of(run, "patient_predictions", dataset="in", model="ro-abmil").set_index("patient_id")
    assert len(table) == PATIENTS and set(table.slides) == {1, 2}
    own = model.patients == "p3"
    assert table.loc["p3", model.task.columns].tolist() == pytest.approx(model.predictions[own].mean(axis=0).tolist())
    assert model.task.targets([table.label["p3"]]).tolist() == model.targets[own][:1].tolist()
    main = model.task.main
    (row,) = rows_of(run, "patients", dataset="in", model="ro-abmil", metric=main).to_dict("records")
    patients = [table[table.fold == fold] for fold in range(FOLDS)]
    values = [
        model.task.compute_metrics(model.task.targets(one.label), one[model.task.columns].to_numpy())[main]
        for one in patients
    ]
    assert row["mean"] == pytest.approx(np.mean(values))


def test_patients_whose_slides_differ_are_in_no_result_by_patient(run):
    """Also where only the event differs, or only the time."""
    model = models_of(run)["in", "abmil"]
    assert mixed_patients(model) == []
    first = np.flatnonzero(model.patients == "p3")[0]
    for column in range(model.targets.reshape(len(model.targets), -1).shape[1]):
        targets = model.targets.reshape(len(model.targets), -1).copy()
        targets[first, column] = 1 - targets[first, column]
        assert mixed_patients(replace(model, targets=targets.reshape(model.targets.shape))) == ["p3"]


def test_survival_alone_has_tables_of_risk_groups(run):
    names = {"survival_groups.csv", "survival_curves.csv"}
    found = names & {path.name for path in run.folder.glob("*.csv")}
    assert found == (names if "survival" in str(run.folder) else set())


def test_a_number_is_traced_to_its_folds(run):
    """Slides and features are not there; the numbers are."""
    row = rows_of(run, "summary", dataset="in", model="ro-abmil").iloc[0]
    trace = trace_number(run.folder / "summary.csv", f"dataset=in,model=ro-abmil,metric={row.metric}")
    assert trace["mean"] == row["mean"] and len(trace["folds"]) == FOLDS
    assert not [line for line in trace["differs"] if "predictions give" in line]


def test_a_model_that_guesses_is_named(run):
    main = models_of(run)["in", "abmil"].task.main
    text = (
        chance_warning("m", 0.0, -0.2, 0.1, metric="r2")
        if main == "r2"
        else chance_warning("m", 0.5, 0.4, 0.6, metric=main)
    )
    assert text.startswith(
        "m is not distinguishable from " + {"r2": "the mean of the test labels", "c_index": "chance"}[main]
    )


def test_few_events_and_few_patients_are_few_tests(run):
    model = models_of(run)["in", "abmil"]
    assert not has_few_tests(model)  # 20 slides of 15 patients, of whom about half have an event
    assert has_few_tests(replace(model, folds=np.arange(len(model.folds)) % 20))
    if isinstance(model.task, Survival):
        censored = model.targets.copy()
        censored[4:, 1] = 0
        assert has_few_tests(replace(model, targets=censored))
        cautions = read_table(run.folder / "cautions.csv").caution
        assert not cautions.str.contains("class").any()


def test_weights_of_concordance_count_pairs():
    """A slide of weight 2 is a slide that is there twice."""
    times, events, risks = np.array([1.0, 2, 3, 4]), np.array([True, True, False, True]), np.array([0.9, 0.2, 0.5, 0.1])
    twice = [np.append(values, values[1]) for values in (times, events, risks)]
    value = concordance(times, events, risks, np.array([[1.0, 2, 1, 1]]))
    assert value == pytest.approx(concordance(*twice, np.ones((1, 5))))


def test_a_task_survives_in_the_metadata(run):
    result = FoldResult.at(run.predictions[0])
    assert result.task == next(
        task for task, _ in TASKS.values() if task.name == json.loads(result.metadata["task"])["task"]
    )
