from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from roformermil.config import load_config
from roformermil.project.config_file import ProjectFacts, config_text, order_classes
from roformermil.tasks import Classification, Regression, Survival


def facts(labels=("tumor",) * 40 + ("normal",) * 20, patients=None, task=None, **changes):
    """Of these labels, one patient each unless told otherwise."""
    task = task or Classification(tuple(order_classes(set(labels) - {""})))
    patients = patients or [f"P{k}" for k in range(len(labels))]
    values = {"name": "mine", "sheet": Path("mine.csv"), "root": Path("/data"), "mpps": [0.25] * 60}
    return ProjectFacts(**values | changes, task=task, labels=labels, patients=patients)


@pytest.fixture
def configure(tmp_path):
    """configure(...) is the text of the configuration for these facts, and what is read from it."""

    def configure(**changes):
        text = config_text(facts(**changes), Path("mine.yaml"))
        (tmp_path / "mine.yaml").write_text(text)
        return text, load_config(tmp_path / "mine.yaml")

    return configure


def test_every_line_has_a_reason_and_fits_on_the_screen(configure):
    survival, number = (
        {"task": Survival(), "labels": ["4", "5+"] * 9},
        {"task": Regression(), "labels": ["1", "2.5"] * 9},
    )
    for changes in ({}, {"labels": [""] * 9}, {"mpps": [1.0] * 30 + [4.1] * 2}, survival, number):
        lines = configure(**changes)[0].splitlines()
        assert all(
            "#" in line or before.lstrip().startswith("#") for before, line in pairwise(lines) if line != "datasets:"
        )
        assert max(map(len, lines)) <= 120


def test_paths_names_and_labels_are_quoted_where_yaml_needs_it(configure):
    root, labels = Path("/a: b #c/'d'"), ["0", "1", "no"] * 4
    _, config = configure(name="2024", root=root, sheet=Path("x # y.csv"), labels=labels)
    assert config.datasets["2024"].root == root and config.datasets["2024"].slides == Path("x # y.csv")
    assert config.datasets["2024"].classes == ["0", "no", "1"] and config.results == Path("results/2024")


def test_the_positive_class_comes_last_and_the_line_says_so(configure):
    for negative, positive in (
        ("normal", "adenoma"),
        ("neg", "her2"),
        ("MSS", "MSI"),
        ("non-malignant", "malignant"),
        ("0", "1"),
    ):
        assert order_classes([positive, negative]) == order_classes([negative, positive]) == [negative, positive]
    assert order_classes(["luad", "lusc"]) == ["luad", "lusc"]
    text, config = configure()
    assert (
        config.datasets["mine"].classes == ["normal", "tumor"]
        and "slides: 20 normal, 40 tumor; tumor is the positive class" in text
    )


def test_without_labels_there_are_no_classes_but_a_place_for_them(configure):
    text, config = configure(labels=["", ""])
    assert config.datasets["mine"].classes == []
    filled = text.replace("# classes:", "classes:")
    assert yaml.safe_load(filled)["datasets"]["mine"]["classes"] == ["negative", "positive"]
    assert "all labels are x" in configure(labels=["x", "x", ""])[0].replace("\n    # ", " ")


@pytest.mark.parametrize(("smallest", "count"), [(1, 3), (3, 3), (9, 3), (10, 5), (49, 5), (50, 10)])
def test_folds_fit_the_patients_of_the_smallest_class(configure, smallest, count):
    labels = ["tumor"] * 100 + ["normal"] * smallest * 2
    patients = [*range(100), *(-1 - k // 2 for k in range(2 * smallest))]  # the smaller class has two slides of each
    text, config = configure(labels=labels, patients=patients)
    assert config.folds.count == count
    assert f"{smallest} patient{'s' * (smallest > 1)} of class normal" in text
    assert ("but training needs 3" in text) == (smallest < 3)


@pytest.mark.parametrize(
    ("task", "labels", "count"),
    [
        (Survival(), ["4"] * 10 + ["5+"] * 90 + [""], 5),
        (Survival(), ["4"] * 9 + ["5+"] * 90, 3),
        (Regression(), ["1"] * 100 + [""], 10),
        (Regression(), ["1"] * 99, 5),
    ],
)
def test_another_task_is_named_without_classes_and_its_folds_fit_its_patients(configure, task, labels, count):
    text, config = configure(task=task, labels=labels)
    assert config.task == task.name and config.folds.count == count and not config.datasets["mine"].classes
    group = "with an event" if task == Survival() else "with a label"
    assert f"{len(labels) if labels[-1] and task == Regression() else labels.count(labels[0])} patients {group}" in text


def test_without_labels_another_task_says_which_columns_to_fill_in(configure):
    text, config = configure(task=Survival(), labels=["", ""])
    assert config.task == "survival" and config.folds.count == 5
    assert "no slide has a label yet: fill in column time and event of the slide sheet" in text.replace("\n# ", " ")


@pytest.mark.parametrize(
    ("mpps", "target"),
    [
        ([], 0.5),
        ([0.25] * 9 + [0.549], 0.5),
        ([0.5] * 19 + [1.0], 0.5),
        ([0.5] * 9 + [1.0], 1.0),
        ([2.0, 0.25], 2.0),
        ([9.0], 4.0),
    ],
)
def test_tiles_are_as_fine_as_the_slides_allow(configure, mpps, target):
    text, config = configure(mpps=mpps)
    assert config.tiles.target_mpp == target
    assert ("too coarse for 0.5" in text) == (target > 0.5)
    assert ("1 slide coarser than that cannot be used" in text) == (mpps[-1:] in ([1.0], [9.0]) and target != 1.0)


@pytest.mark.parametrize(
    ("slides", "fraction"), [(0, 0.05), (3, 0.34), (9, 0.12), (10, 0.1), (19, 0.06), (20, 0.05), (500, 0.05)]
)
def test_one_slide_may_fail_of_however_few(configure, slides, fraction):
    _, config = configure(labels=[""] * slides)
    assert config.max_failed_fraction == fraction and (not slides or slides * fraction >= 1)
