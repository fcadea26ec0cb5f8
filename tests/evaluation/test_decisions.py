"""What operating points reach, against scikit-learn; nothing of a test slide's label reaches a threshold."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import precision_score, recall_score

from roformermil.config.decisions import Decisions
from roformermil.evaluation.decisions import decision_rows, decision_table, prepare_decisions
from roformermil.evaluation.operating_points import calls


@pytest.fixture
def decided(simulate):
    return prepare_decisions([simulate(0, patients=150)], [simulate(1, patients=150)], Decisions())


def test_the_table_has_scikit_learns_numbers_of_all_test_slides(decided):
    (model,), _, points = decided
    table = decision_table([model], points, Decisions()).set_index("metric")
    truth, called = model.targets, calls(model, points, 1)
    expected = {
        "sensitivity": recall_score(truth, called),
        "specificity": recall_score(truth, called, pos_label=0),
        "ppv": precision_score(truth, called),
        "npv": precision_score(truth, called, pos_label=0),
    }
    assert table.value.to_dict() == pytest.approx(expected)
    assert (table.prevalence == truth.mean()).all() and (table.slides == truth.sum()).all() and (table.folds == 5).all()
    assert ((table.ci_low < table.value) & (table.value < table.ci_high)).all()


def test_the_labels_of_test_slides_change_no_threshold_and_no_temperature(simulate):
    model, validation = simulate(0), simulate(1)
    settings = Decisions(temperature=True)
    before = prepare_decisions([model], [validation], settings)
    after = prepare_decisions([replace(model, targets=1 - model.targets)], [validation], settings)
    assert before.points.equals(after.points) and (before.points.temperature != 1).all()
    assert (before.models[0].predictions == after.models[0].predictions).all()
    others = prepare_decisions([model], [replace(validation, targets=1 - validation.targets)], settings)
    assert not before.points.equals(others.points)


def test_a_temperature_moves_thresholds_but_no_decision_of_two_classes(simulate):
    model, validation = simulate(0), simulate(1)
    tables = []
    for temperature in (False, True):
        settings = Decisions(temperature=temperature)
        decided = prepare_decisions([model], [validation], settings)
        tables.append((decided.points.threshold, calls(decided.models[0], decided.points, 1)))
    assert not np.allclose(tables[0][0], tables[1][0])
    assert (tables[0][1] == tables[1][1]).mean() > 0.97, "all but scores between two neighbours on validation slides"


def test_predictive_values_at_a_prevalence_follow_bayes(decided):
    settings = Decisions(prevalence={"class_1": 0.05})
    table = decision_table(decided.models, decided.points, settings).set_index("metric")
    se, sp = table.value.sensitivity, table.value.specificity
    assert table.value.ppv_at_prevalence == pytest.approx(se * 0.05 / (se * 0.05 + (1 - sp) * 0.95))
    assert table.value.npv_at_prevalence == pytest.approx(sp * 0.95 / (sp * 0.95 + (1 - se) * 0.05))
    assert table.prevalence.ppv_at_prevalence == table.prevalence.npv_at_prevalence == 0.05
    assert table.value.ppv_at_prevalence < table.value.ppv and table.value.npv_at_prevalence > table.value.npv


def test_seeds_are_averaged_and_are_no_further_slides(simulate):
    model, validation = simulate(0, seeds=2), simulate(1, seeds=2)
    both = prepare_decisions([model], [validation], Decisions())
    each = [
        decision_table([model.select(model.seeds == seed)], both.points, Decisions()).set_index("metric")
        for seed in (1, 2)
    ]
    table = decision_table(both.models, both.points, Decisions()).set_index("metric")
    assert table.value.sensitivity == pytest.approx((each[0].value.sensitivity + each[1].value.sensitivity) / 2)
    width = table.ci_high.sensitivity - table.ci_low.sensitivity
    assert width > 0.8 * (each[0].ci_high - each[0].ci_low).sensitivity, "not as of twice the slides"


def test_rows_of_external_slides_need_only_labels_and_calls():
    rows = {
        metric: value
        for metric, _, value, _ in decision_rows(np.array([True, True, False]), np.array([1.0, 0, 0]), np.arange(3))
    }
    assert rows == {"sensitivity": 0.5, "specificity": 1, "ppv": 1, "npv": 0.5}
