"""Bags of `make til`: each slide's own tiles, four in one, and a sheet of the slides that have a label."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from roformermil.cohort.slide_sheet import read_slide_sheet
from roformermil.config import load_config
from roformermil.features.h5_files import read_h5
from tests import ROOT
from tests.cohort.scripts import load_script

CONFIG = load_config(ROOT / "config/til.yaml")
TILES = [7, 20, 5, 12]
SLIDES = [  # slide_id, patient_id, site, er, histology, age, survival_months, event
    ("TCGA-AA-0001-DX1", "TCGA-AA-0001", "AA", "positive", "ILC", 50, 12.5, 1),
    ("TCGA-AA-0001-DX2", "TCGA-AA-0001", "AA", "positive", "", 50, 12.5, 1),
    ("TCGA-BB-0002-DX1", "TCGA-BB-0002", "BB", "", "", 61, None, None),
    ("TCGA-CC-0003-DX1", "TCGA-CC-0003", "CC", "", "IDC", None, 30, 0),
]


@pytest.fixture
def source(tmp_path):
    """A folder of four slides' maps and labels."""
    rng, count = np.random.default_rng(0), sum(TILES)
    np.savez(
        tmp_path / "maps.npz",
        features=rng.integers(0, 255, (count, 10), dtype=np.uint8),
        grid=np.concatenate([rng.permutation(np.argwhere(np.ones((9, 9))))[:tiles] for tiles in TILES]).astype(
            np.int16
        ),
        tiles=np.array(TILES, np.int32),
        slide_id=np.array([slide[0] for slide in SLIDES]),
    )
    columns = ["slide_id", "patient_id", "site", "er", "histology", "age", "survival_months", "event"]
    pd.DataFrame(SLIDES, columns=columns).to_csv(tmp_path / "slides.csv", index=False)
    return tmp_path


def sheet_of(sheet, folder, **options):
    return read_slide_sheet(folder / f"{sheet}.csv", folder, CONFIG.datasets[sheet].classes, **options)


def test_a_bag_has_its_slides_tiles_and_each_sheet_the_slides_with_its_label(source, tmp_path):
    load_script("til").write_bags(source, tmp_path / "bags")
    labels = {
        name: {slide.slide_id: slide.label for slide in sheet_of(name, tmp_path / "bags")}
        for name in ("er", "histology")
    }
    assert labels["er"] == {"TCGA-AA-0001-DX1": "positive", "TCGA-AA-0001-DX2": "positive"}
    assert labels["histology"] == {"TCGA-AA-0001-DX1": "ILC", "TCGA-CC-0003-DX1": "IDC"}
    maps = np.load(source / "maps.npz")
    starts = np.cumsum([0, *TILES])
    for k, (slide_id, *_) in enumerate(SLIDES):
        path = tmp_path / f"bags/{slide_id}.h5"
        assert path.exists() == (slide_id in labels["er"] | labels["histology"])
        if path.exists():
            bag, tiles = read_h5(path), slice(starts[k], starts[k + 1])
            features, grid = maps["features"][tiles].astype(float), maps["grid"][tiles].tolist()
            merged = sorted({(x // 2, y // 2) for x, y in grid})
            assert list(map(tuple, bag.grid.tolist())) == merged
            for (x, y), values in zip(merged, bag.features * 255, strict=True):
                places = [[2 * x, 2 * y], [2 * x + 1, 2 * y], [2 * x, 2 * y + 1], [2 * x + 1, 2 * y + 1]]  # row by row
                inside = {j: features[grid.index(place)] for j, place in enumerate(places) if place in grid}
                whole = np.mean(list(inside.values()), axis=0)
                for channel in range(2):
                    quarters = [inside.get(j, whole)[channel:8:2].mean() for j in range(4)]
                    np.testing.assert_allclose(values[channel:8:2], quarters, atol=1e-3)
                    assert values[8 + channel] == pytest.approx(whole[8 + channel], abs=1e-3)
            assert bag.base_px * bag.attributes["mpp"] == 800 and bag.warnings == []


def test_sheets_say_whose_slides_they_are_and_from_where(source, tmp_path):
    load_script("til").write_bags(source, tmp_path / "bags")
    slides = [(slide.slide_id, slide.patient_id, slide.site) for slide in sheet_of("histology", tmp_path / "bags")]
    assert slides == [SLIDES[k][:3] for k in (0, 3)]
    survival = pd.read_csv(tmp_path / "bags/survival.csv")
    assert survival.slide_id.tolist() == [SLIDES[k][0] for k in (0, 1, 3)]
    assert (survival.time.tolist(), survival.event.tolist()) == ([12.5, 12.5, 30], [1, 1, 0])
    assert survival.age.tolist()[:2] == [50, 50] and np.isnan(survival.age[2])


def test_lists_of_other_slides_and_missing_files_are_refused(source, tmp_path):
    til = load_script("til")
    pd.read_csv(source / "slides.csv").iloc[::-1].to_csv(source / "slides.csv", index=False)
    with pytest.raises(SystemExit, match=f"{source}: slides.csv and maps.npz do not list the same slides"):
        til.write_bags(source, tmp_path / "bags")
    (source / "maps.npz").unlink()
    with pytest.raises(SystemExit, match=f"no such file:\n{source / 'maps.npz'}\nThe maps"):
        til.write_bags(source, tmp_path / "bags")


@pytest.mark.shared
def test_the_real_cohort_has_all_its_slides_and_patients(shared, tmp_path):
    load_script("til").write_bags(shared / "cohorts/tcga_brca_til", tmp_path)
    counts = {}
    for name in CONFIG.datasets:
        slides = sheet_of(name, tmp_path)
        labels = {slide.patient_id: slide.label for slide in slides}
        assert all(labels[slide.patient_id] == slide.label for slide in slides)
        counts[name] = (len(slides), len(labels), Counter(slide.label for slide in slides))
    assert counts["er"] == (947, 897, {"positive": 742, "negative": 205})
    assert counts["histology"] == (832, 784, {"IDC": 693, "ILC": 139})
    here, elsewhere = (pd.read_csv(tmp_path / f"er_{half}.csv") for half in ("here", "elsewhere"))
    assert (len(here), len(elsewhere)) == (510, 437) and not set(here.site) & set(elsewhere.site)
    survival = pd.read_csv(tmp_path / "survival.csv")
    assert (len(survival), survival.event.sum()) == (832, 95)
