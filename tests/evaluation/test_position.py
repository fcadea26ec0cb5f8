import numpy as np
import pandas as pd
import pytest

from roformermil.evaluation.position import position_notes, position_sentence


def row(difference, low, high, metric="auroc", model="m", ci_low=0.6):
    cells = {"mean": 0.8, "ci_low": ci_low, "shuffled_difference": difference}
    cells |= {"difference_low": low, "difference_high": high}
    return {"dataset": "set", "encoder": "net", "model": model, "metric": metric, **cells}


NONE = (np.nan, np.nan, np.nan)


@pytest.mark.parametrize(
    ("cells", "sentence"),
    [
        ((0.214, 0.12, 0.31), "Shuffling tile positions lowers AUROC by 0.21 [0.12, 0.31]: this model uses position."),
        (
            (-0.1, -0.2, -0.05),
            "Shuffling tile positions raises AUROC by 0.10 [0.05, 0.20]: this model uses position, to its disadvantage.",
        ),
        (
            (0.01, -0.03, 0.05),
            "Shuffling tile positions makes no measurable difference to AUROC (0.01 [-0.03, 0.05]): this model does not use "
            "position here.",
        ),
        (
            (0.01, -0.03, 0.11),
            "Shuffling tile positions makes no measurable difference to AUROC (0.01 [-0.03, 0.11]), but these patients are too "
            "few to exclude a difference of 0.1.",
        ),
        ((-0.01, -0.2, 0.05), "too few to exclude a difference of 0.1."),
        ((0.0, np.nan, np.nan), "makes no difference to AUROC, which is 0.80 either way: this metric cannot tell."),
        ((0.5, np.nan, np.nan), "Shuffling tile positions lowers AUROC by 0.50; too few patients for an interval."),
    ],
)
def test_the_sentence_follows_the_interval(cells, sentence):
    assert position_sentence(row(*cells)).endswith(sentence)


def test_a_model_that_guesses_is_not_said_to_use_no_position():
    assert "this model is not distinguishable from chance" in position_sentence(row(0, -0.01, 0.01, ci_low=0.5))
    assert "this model does not use position" in position_sentence(row(0, -0.01, 0.01, "f1", ci_low=0.3)), "no area"


def test_pooled_auroc_speaks_where_folds_have_none():
    rows = [row(*NONE, model="b"), row(0.2, 0.1, 0.3, "pooled_auroc", "b")]
    (note,) = position_notes(pd.DataFrame(rows))["set", "net"]
    assert note.startswith("set, b: Shuffling tile positions lowers pooled AUROC by 0.20")


def test_a_model_without_position_has_none_and_other_metrics_are_named():
    assert position_sentence(row(*NONE)) == ""
    assert "lowers pooled AUROC by" in position_sentence(row(0.2, 0.1, 0.3, "pooled_auroc"))


def test_notes_are_of_auroc_and_name_the_model():
    rows = [
        row(*NONE, model="a"),
        row(0.2, 0.1, 0.3, model="b"),
        row(0.3, 0.1, 0.4, "f1", "b"),
        row(0, -0.01, 0.01, model="c"),
    ]
    notes = position_notes(pd.DataFrame(rows))
    assert list(notes) == [("set", "net")]
    b, c = notes["set", "net"]
    assert b.startswith("set, b: Shuffling tile positions lowers AUROC by 0.20") and c.startswith("set, c: ")
