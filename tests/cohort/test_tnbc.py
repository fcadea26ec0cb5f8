"""Bags of `make tnbc`: the same vectors in all, at the places of the patient's own cells."""

import base64
import hashlib
from collections import Counter
from functools import partial

import numpy as np
import pandas as pd
import pytest

from roformermil.cohort.download import RemoteFile
from roformermil.cohort.slide_sheet import read_slide_sheet, sheet_warnings
from roformermil.config import load_config
from roformermil.features.h5_files import read_h5
from tests import ROOT
from tests.cohort.scripts import load_script
from tests.factories import serve_folder

KINDS = ["Tumor", "CD8T", "Macrophage", "Otherimmune", "Mesenchymal", "Endothelial", "Other"]
# three cells, which R 4.2 saved: save(TNBC_pheno, compress = "xz")
SAVED_BY_R = base64.b64decode(
    "/Td6WFoAAAFpIt42AgAhARwAAAAQz1jM4AGSANBdACkRB1RoEeRuUsqgM8UkXrtrnNeLUzcP1dKbshUqBwT4yAjz6ecZX0WAZVNmOYKwtUWKGiNsGGoS"
    "4tqzKCUS5DK24oaaZUrz2E2Kp5g+nA9MOXKAW+I++K90+b3AOM+jTU6MYs4JnyA7W6fT4ldstEtsPkxRxxPYGuuBJvKAiW0xckm7oteVqlbHnZH62YeL"
    "T9MWgMfHHyIhBEZ0AdIelAlfslFsGOCo6zURS9o98PprjJ6YB32yH+x4cjWiqhBfonXOkdOTWqQ8yfjUYY+nzwAARha50QAB6AGTAwAAkZSRqT4wDYsC"
    "AAAAAAFZWg=="
)
SAVED_ROWS = [(0, 1, 33.4, 1889.2, "Tumor"), (0, 1, 31.1, 1856.2, "CD3T"), (1, 41, 2017.6, 30.6, "B")]


@pytest.fixture
def tnbc(tmp_path, monkeypatch):
    """The script, run where there is no ../shared."""
    (tmp_path / "checkout").mkdir()
    monkeypatch.chdir(tmp_path / "checkout")
    return load_script("tnbc")


def cells_of(person, kind, count=1000):
    """Cells all over a field, a third of them tumour cells."""
    rng = np.random.default_rng(person)
    x, y = rng.uniform(0, 2048, (2, count)).round(1)
    kinds = rng.choice(KINDS, count, p=[0.34] + [0.11] * 6)
    return pd.DataFrame({"Class": kind, "Person": person, "cellx": x, "celly": y, "Phenotype": kinds})


def read_bags(tnbc, folder, *tables):
    tnbc.write_bags(pd.concat(tables), folder)
    slides = read_slide_sheet(folder / "slides.csv", folder, list(tnbc.LABELS.values()))
    return slides, {slide.slide_id: read_h5(slide.path) for slide in slides}


def test_every_bag_has_the_same_vectors_at_places_of_the_patients_cells(tnbc, tmp_path):
    tables = {"patient_02": cells_of(2, 0), "patient_41": cells_of(41, 1)}
    slides, bags = read_bags(tnbc, tmp_path / "bags", *tables.values())
    patients = Counter((slide.patient_id, slide.label) for slide in slides)
    assert patients == {("patient_02", "mixed"): 8, ("patient_41", "compartmentalised"): 8}
    for slide in slides:
        bag, cells = bags[slide.slide_id], tables[slide.patient_id]
        assert bag.features.tolist() == [[1.0, 0.0]] * 100 + [[0.0, 1.0]] * 100
        assert len(np.unique(bag.grid, axis=0)) == 200 and bag.base_px * bag.attributes["mpp"] == 10
        squares = (cells[["cellx", "celly"]].to_numpy() * 800 / 2048 // 10).astype(int).tolist()
        groups = cells.Phenotype.map(lambda kind: {"Tumor": 0}.get(kind, 2 if kind in KINDS[4:] else 1))
        there = {(*square, group) for square, group in zip(squares, groups, strict=True)}
        assert {(*square, kind) for square, kind in zip(bag.grid.tolist(), bag.features[:, 1], strict=True)} <= there
    assert len({bag.grid.tobytes() for bag in bags.values()}) == 16, "drawn anew for each bag"


def test_bags_do_not_change_from_run_to_run_nor_with_other_patients(tnbc, tmp_path):
    _, first = read_bags(tnbc, tmp_path / "first", cells_of(2, 0), cells_of(41, 1))
    _, again = read_bags(tnbc, tmp_path / "again", cells_of(41, 1), cells_of(3, 0), cells_of(2, 0))
    for slide_id, bag in first.items():
        np.testing.assert_array_equal(bag.grid, again[slide_id].grid)
        np.testing.assert_array_equal(bag.features, again[slide_id].features)


def test_a_patient_with_too_few_cells_is_named(tnbc, tmp_path):
    with pytest.raises(SystemExit, match="patient 7: fewer than 100 tumour or immune cells"):
        tnbc.write_bags(cells_of(7, 0, count=200), tmp_path / "bags")
    assert not (tmp_path / "bags/slides.csv").exists()


def test_the_table_that_r_saved_is_read_like_a_csv(tnbc, tmp_path):
    (tmp_path / "saved.rda").write_bytes(SAVED_BY_R)
    pd.DataFrame(SAVED_ROWS, columns=tnbc.COLUMNS).to_csv(tmp_path / "cells.csv.gz", index=False)
    for name in ("saved.rda", "cells.csv.gz"):
        assert list(tnbc.read_cells(tmp_path / name).itertuples(index=False, name=None)) == SAVED_ROWS


def test_another_table_is_refused(tnbc, tmp_path):
    (tmp_path / "cells.csv").write_text("Class,Person,x,y\n")
    with pytest.raises(SystemExit, match="cells.csv: not the table of cells: it lacks Phenotype, cellx, celly"):
        tnbc.read_cells(tmp_path / "cells.csv")


def test_the_table_is_downloaded_and_compared_with_its_checksum(tnbc, tmp_path, monkeypatch):
    (tmp_path / "web").mkdir()
    (tmp_path / "web/a.rda").write_bytes(SAVED_BY_R)
    with serve_folder(tmp_path / "web") as address:
        remote = partial(RemoteFile, f"{address}/a.rda")
        monkeypatch.setattr(tnbc, "PUBLISHED", remote(hashlib.md5(SAVED_BY_R).hexdigest()))
        path = tnbc.find_table(tmp_path / "bags")
        assert path == tmp_path / "bags/TNBC_pheno.rda" and path.read_bytes() == SAVED_BY_R
        path.write_bytes(SAVED_BY_R[:-1])  # as if put there by hand
        with pytest.raises(SystemExit, match=f"{path}: not the published table .*\\. Download {address}/a.rda and put"):
            tnbc.find_table(tmp_path / "bags")
        monkeypatch.setattr(tnbc, "PUBLISHED", remote("0" * 32))
        with pytest.raises(SystemExit, match="did not arrive: .*checksum"):
            tnbc.find_table(tmp_path / "other")


def test_without_a_network_it_is_said_what_to_download_and_where_to_put_it(tnbc, tmp_path, monkeypatch):
    monkeypatch.setattr(tnbc, "PUBLISHED", RemoteFile("http://127.0.0.1:9/a.rda", tnbc.PUBLISHED.md5))
    put = f"Download http://127.0.0.1:9/a.rda and put it at {tmp_path / 'bags/TNBC_pheno.rda'}"
    with pytest.raises(SystemExit, match=f"(?s)did not arrive: .*\n{put}"):
        tnbc.find_table(tmp_path / "bags")


@pytest.mark.shared
def test_the_published_table_gives_eight_bags_of_each_of_33_patients(tnbc, shared, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    tnbc.write_bags(tnbc.read_cells(tnbc.find_table(tmp_path / "bags")), tmp_path / "bags")
    classes = load_config(ROOT / "config/tnbc.yaml").datasets["tnbc"].classes
    slides = read_slide_sheet(tmp_path / "bags/slides.csv", tmp_path / "bags", classes)
    assert len(slides) == 264 and set(Counter(slide.patient_id for slide in slides).values()) == {8}
    labels = Counter(label for _, label in {(slide.patient_id, slide.label) for slide in slides})
    assert labels == {"mixed": 18, "compartmentalised": 15}
    assert sheet_warnings(slides) == []
