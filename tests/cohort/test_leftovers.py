from dataclasses import replace
from pathlib import Path

import pytest

from roformermil.cohort.leftovers import find_leftovers
from roformermil.cohort.slide_sheet import Slide

SLIDES = [Slide(name, name, "", Path(f"{name}.svs"), None) for name in ("a", "b", "c.1")]
RESULTS = (
    "tissue/{}.png",
    "tissue/{}.jpg",
    "tissue/{}.geojson",
    "tiles/{}.npz",
    "features/uni/{}.zarr",
    "features/random/{}.zarr",
)
HEAT_MAPS = ("jpg", "geojson", "attention.png", "contribution.png", "contribution_shuffled.png")


def write_results(folder, name):
    """Empty results of a slide."""
    paths = [folder / pattern.format(name) for pattern in RESULTS]
    paths += [folder / f"uni/abmil/heatmaps/{name}.{end}" for end in HEAT_MAPS]
    for path in paths:
        path.mkdir(parents=True) if path.suffix == ".zarr" else touch(path)
    return paths


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


@pytest.fixture
def dataset(tmp_path):
    """Results of all slides, with what else a run leaves there."""
    for slide in SLIDES:
        write_results(tmp_path, slide.slide_id)
    for table in (
        "batches/all.csv",
        "tissue/batch_all.csv",
        "features/uni/batch_all.csv",
        "uni/abmil/heatmaps/batch_all.csv",
    ):
        touch(tmp_path / table)
    for other in (
        "tissue/.gone.host-1.png",
        "tissue/notes.txt",
        "slides.csv",
        "tissue.jpg",
        "uni/abmil/heatmaps/gallery/gone.jpg",
    ):
        touch(tmp_path / other)
    return tmp_path


def test_what_slides_of_the_sheet_have_and_files_of_other_names_are_no_leftovers(dataset):
    assert list(find_leftovers(dataset, [replace(SLIDES[0], exclude="a duplicate"), *SLIDES[1:]], 25)) == []


@pytest.mark.parametrize("name", ["gone", "a.2", "c"])
def test_all_results_of_a_slide_that_left_the_sheet_are_leftovers(dataset, name):
    assert set(find_leftovers(dataset, SLIDES, 25)) == set()
    assert set(find_leftovers(dataset, [*SLIDES, replace(SLIDES[0], slide_id=name)], 25)) == set()
    paths = write_results(dataset, name)
    assert set(find_leftovers(dataset, SLIDES, 25)) == set(paths)


def test_tables_of_batches_that_were_divided_are_leftovers(dataset):
    tables = {path for path in dataset.rglob("*.csv") if path.stem.endswith("all")}
    touch(dataset / "tissue/batch_0.csv")
    assert len(tables) == 4 and set(find_leftovers(dataset, SLIDES, 2)) == tables
