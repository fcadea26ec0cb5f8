"""A package against the tables of its run: numbers, seeds, cautions."""

import json

import numpy as np
import pandas as pd
import pytest

from roformermil.bags.folds import make_folds, write_folds
from roformermil.cohort.slide_sheet import Slide
from roformermil.config import Decisions, Folds
from roformermil.deployment.export import export_model
from roformermil.deployment.model_card import Preparation
from roformermil.deployment.operating_point import ClassDecision, PackagedDecisions
from roformermil.errors import ModelError
from roformermil.evaluation.fold_results import read_metadata
from roformermil.evaluation.position import position_sentence
from roformermil.evaluation.predictions import read_table
from roformermil.evaluation.shift import fit_reference, write_reference
from roformermil.evaluation.tables import write_tables
from tests.factories import SimulatedRun

CLASSES = ["inflamed", "excluded"]


def write_some_reference(folder):
    """A reference of drawn training slides: these runs have no features."""
    vectors = np.random.default_rng(0).normal(size=(24, 4))
    write_reference(path := folder / "reference.safetensors", fit_reference(vectors, [str(k) for k in range(24)]))
    return path


@pytest.fixture(scope="module")
def seeded(tmp_path_factory):
    """A run of a model that uses position, with two seeds per fold, its tables, and its package in `model`."""
    run = SimulatedRun(tmp_path_factory.mktemp("seeded"))
    folds = run.add_dataset("mine", CLASSES, slides=60)
    run.add_model("mine", folds, CLASSES, "ro-abmil", strength=2.0, seeds=2, shuffled_strength=0.0)
    write_tables(run.predictions, run.datasets, run.folder)
    export_model(
        run.predictions[::-1],
        run.datasets[0],
        run.folder,
        Preparation(),
        run.folder / "model",
        write_some_reference(run.folder),
    )
    return run


def test_the_card_has_the_numbers_of_the_tables(seeded):
    """Those of all seeds, with shuffled positions and the sentence on them."""
    card = json.loads((seeded.folder / "model/model.json").read_text())
    summary = read_table(seeded.folder / "summary.csv").set_index("metric")
    assert [result["metric"] for result in card["results"]] == summary.index.tolist()
    for result in card["results"]:
        row = summary.loc[result.pop("metric")]
        assert {name: np.nan if value is None else value for name, value in result.items()} == pytest.approx(
            {name: row[name] for name in result}, nan_ok=True
        )
    auroc, pooled = summary.loc["auroc"], summary.loc["pooled_auroc"]
    assert card["position"] == position_sentence({"metric": "auroc", **auroc})
    text = (seeded.folder / "model/README.md").read_text()
    assert (
        card["position"] in text
        and "this model uses position." in text
        and "Each fold was trained with 2 seeds" in text
    )
    mean = f"{auroc['mean']:.3f} ± {auroc['std']:.3f} | {auroc.ci_low:.3f} to {auroc.ci_high:.3f}"
    difference = f"{auroc.shuffled_difference:.3f} | {auroc.difference_low:.3f} to {auroc.difference_high:.3f}"
    assert f"| auroc | {mean} | {auroc.seed_std:.3f} | {auroc.shuffled:.3f} | {difference} |\n" in text
    assert f"| pooled_auroc | {pooled['mean']:.3f} | " in text
    header = (
        "| metric | mean ± std | 95% interval | std over seeds | positions shuffled | difference | its 95% interval |"
    )
    assert header in text


def test_members_are_the_first_training_of_each_fold(seeded, tmp_path):
    card = json.loads((seeded.folder / "model/model.json").read_text())
    names = [f"fold_{fold}.safetensors" for fold in range(3)]
    assert list(card["members"]) == sorted(path.name for path in (seeded.folder / "model").glob("fold*")) == names
    assert [read_metadata(seeded.folder / "model" / name)["seed"] for name in names] == ["1", "1", "1"]
    assert card["training"]["seed"] == 1
    second = [path for path in seeded.predictions if path.parent.name != "fold_1"]
    with pytest.raises(ModelError, match="each fold's first training: also give predictions.csv of fold_1$"):
        export_model(second, seeded.datasets[0], seeded.folder, Preparation(), tmp_path / "model")


def test_the_card_names_trainings_that_went_wrong(tmp_path):
    run = SimulatedRun(tmp_path)
    run.add_model("mine", run.add_dataset("mine", CLASSES), CLASSES, strength=0.0)
    given = write_some_reference(tmp_path)
    export_model(run.predictions, run.datasets[0], tmp_path, Preparation(), tmp_path / "model", given)
    *_, caution = json.loads((tmp_path / "model/model.json").read_text())["cautions"]
    assert caution.startswith("mine, abmil: all 3 trainings overfit from the start")
    assert f"- {caution}\n" in (tmp_path / "model/README.md").read_text()


def test_members_are_those_of_the_first_repeat_and_results_those_of_all(tmp_path):
    run, slides = SimulatedRun(tmp_path), [Slide(f"s{k}", f"p{k}", CLASSES[k % 2], tmp_path, None) for k in range(24)]
    run.add_dataset("mine", CLASSES)
    folds = make_folds(slides, Folds(count=3, repeats=2), CLASSES)
    write_folds(tmp_path / "mine/folds.csv", folds)
    run.add_model("mine", pd.DataFrame(folds), CLASSES, strength=2.0)
    given = write_some_reference(tmp_path)
    export_model(run.predictions, run.datasets[0], tmp_path, Preparation(), tmp_path / "model", given)
    card = json.loads((tmp_path / "model/model.json").read_text())
    assert list(card["members"]) == [f"fold_{fold}.safetensors" for fold in range(3)]
    assert (card["repeats"], card["results"][0]["folds"]) == (2, 6)
    assert "The cross-validation was done 2 times, with other folds" in (tmp_path / "model/README.md").read_text()


def test_the_card_has_the_operating_points_of_its_members_and_what_they_reach(seeded):
    """The threshold is the median of those of the members, which are the first seeds; the results are of all seeds."""
    card = json.loads((seeded.folder / "model/model.json").read_text())["decisions"]
    points = read_table(seeded.folder / "operating_points.csv")
    thresholds = points[points.seed == 1].threshold
    (name, decision), text = *card["classes"].items(), (seeded.folder / "model/README.md").read_text()
    assert name == "excluded" and card["operating_point"] == "Youden's index" and not card["temperatures"]
    expected = [thresholds.median(), thresholds.min(), thresholds.max()]
    assert [decision[key] for key in ("threshold", "lowest", "highest")] == pytest.approx(expected)
    table = read_table(seeded.folder / "decisions.csv")
    assert [row["value"] for row in decision["results"]] == pytest.approx(table.value.tolist())
    assert f"A slide is called excluded at a probability of {thresholds.median():.2f} or more (Youden's index" in text
    se = table[table.metric == "sensitivity"].iloc[0]
    assert f"sensitivity {se.value:.2f} [{se.ci_low:.2f} to {se.ci_high:.2f}]" in text


def test_temperatures_of_the_members_are_packaged_where_the_settings_say_so(seeded, tmp_path):
    settings = Decisions(temperature=True, sensitivity=0.9, prevalence={"excluded": 0.1})
    given = (tmp_path / "model", write_some_reference(tmp_path), settings)
    export_model(seeded.predictions, seeded.datasets[0], seeded.folder, Preparation(), *given)
    card = json.loads((tmp_path / "model/model.json").read_text())["decisions"]
    assert list(card["temperatures"]) == [f"fold_{k}.safetensors" for k in range(3)]
    assert len({1.0, *card["temperatures"].values()}) == 4
    text = (tmp_path / "model/README.md").read_text()
    assert "at a prevalence of 0.1" in text and "scaled by a temperature" in text and "(sensitivity 0.9 on each" in text


@pytest.mark.parametrize(
    ("classes", "thresholds", "probabilities", "expected"),
    [
        ("ab", {"b": 0.3}, [0.6, 0.4], "b"),
        ("ab", {"b": 0.3}, [0.8, 0.2], "a"),
        ("abc", {"a": 0.5, "b": 0.2, "c": 0.2}, [0.5, 0.3, 0.2], "a; b; c"),
        ("abc", {"a": 0.6, "b": 0.5, "c": 0.5}, [0.5, 0.3, 0.2], "none"),
        ("ab", {}, [0.5, 0.5], None),
    ],
)
def test_a_slide_is_called_what_reaches_its_operating_point(classes, thresholds, probabilities, expected):
    points = {k: ClassDecision(threshold=v, lowest=v, highest=v, results=[]) for k, v in thresholds.items()}
    packaged = PackagedDecisions(operating_point="Youden's index", classes=points)
    assert packaged.decide(np.array(probabilities), list(classes)) == expected
