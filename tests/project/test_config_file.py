from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from roformermil.config import load_config
from roformermil.project.config_file import ProjectFacts, config_text, order_classes


def facts(**changes):
    values = {"name": "mine", "sheet": Path("mine.csv"), "root": Path("/data"), "slides": 60, "mpps": [0.25] * 60}
    return ProjectFacts(
        **values | {"labelled": {"tumor": 40, "normal": 20}, "patients": {"tumor": 30, "normal": 12}} | changes
    )


@pytest.fixture
def configure(tmp_path):
    """configure(...) is the text of the configuration for these facts, and what is read from it."""

    def configure(**changes):
        text = config_text(facts(**changes), Path("mine.yaml"))
        (tmp_path / "mine.yaml").write_text(text)
        return text, load_config(tmp_path / "mine.yaml")

    return configure


def test_every_line_has_a_reason_and_fits_on_the_screen(configure):
    for changes in ({}, {"labelled": {}, "patients": {}, "slides": 9}, {"mpps": [1.0] * 30 + [4.1] * 2, "slides": 32}):
        lines = configure(**changes)[0].splitlines()
        assert all(
            "#" in line or before.lstrip().startswith("#") for before, line in pairwise(lines) if line != "datasets:"
        )
        assert max(map(len, lines)) <= 120


def test_paths_names_and_labels_are_quoted_where_yaml_needs_it(configure):
    root, labels = Path("/a: b #c/'d'"), {"0": 3, "1": 4, "no": 5}
    _, config = configure(name="2024", root=root, sheet=Path("x # y.csv"), labelled=labels, patients=labels)
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
    text, config = configure(labelled={}, patients={})
    assert config.datasets["mine"].classes == []
    filled = text.replace("# classes:", "classes:")
    assert yaml.safe_load(filled)["datasets"]["mine"]["classes"] == ["negative", "positive"]
    assert "all labels are x" in configure(labelled={"x": 3}, patients={"x": 3})[0].replace("\n    # ", " ")


@pytest.mark.parametrize(("smallest", "count"), [(1, 3), (3, 3), (9, 3), (10, 5), (49, 5), (50, 10)])
def test_folds_fit_the_patients_of_the_smallest_class(configure, smallest, count):
    text, config = configure(patients={"tumor": 100, "normal": smallest})
    assert config.folds.count == count
    assert ("but each class needs 3 to train" in text) == (smallest < 3)


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
    _, config = configure(slides=slides)
    assert config.max_failed_fraction == fraction and (not slides or slides * fraction >= 1)
