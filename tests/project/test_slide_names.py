from pathlib import Path

import pytest

from roformermil.project.slide_names import (
    describe_class_folders,
    folders_as_patients,
    patients_of,
    slide_ids,
    usable_id,
    without_ending,
)

ROOT = Path("/data/slides")


def paths(*names):
    return [ROOT / name for name in names]


IDS = {
    "a.svs": "a",
    "S19-1234 (1).ndpi": "S19-1234_1",
    "Müller, ö.tiff": "Muller_o",
    "scan.ome.tif": "scan",
    ".-_x.svs": "x",
    "日本.svs": "slide",
    "v1.2.mrxs": "v1.2",
    "case7/1.2.840.1.dcm": "case7",
    "TCGA-05-4250-01Z-00-DX1.90f67fdf-dff9.svs": "TCGA-05-4250-01Z-00-DX1.90f67fdf-dff9",
}
ALIKE = [
    (("p1/HE.svs", "p2/HE.svs", "p2/b.svs"), ["p1_HE", "p2_HE", "b"]),
    (("x/1/a.svs", "y/1/a.svs"), ["x_1_a", "y_1_a"]),
    (("a.svs", "a.tif"), ["a.svs", "a.tif"]),
    (("A.svs", "p/a.svs"), ["A", "p_a"]),
    (("p_a.svs", "p/a.svs", "q/a.svs"), ["p_a", None, None]),
    (("a b.svs", "a,b.svs"), [None, None]),
]


@pytest.mark.parametrize(("name", "slide_id"), IDS.items())
def test_a_slide_id_is_the_name_of_its_file_without_the_ending(name, slide_id):
    assert slide_ids(paths(name), ROOT) == {ROOT / name: slide_id}


@pytest.mark.parametrize(("names", "expected"), ALIKE)
def test_slides_of_one_name_are_told_apart_by_their_folders(names, expected):
    ids = list(slide_ids(paths(*names), ROOT).values())
    assert len({slide_id.casefold() for slide_id in ids}) == len(names)
    assert [slide_id if wanted else None for slide_id, wanted in zip(ids, expected, strict=True)] == expected


def test_endings_and_names():
    assert without_ending("a.b.OME.TIFF") == "a.b" and without_ending("a.b") == "a.b"
    assert usable_id("non-malignant") == "non-malignant" and usable_id(" lobular carcinoma ") == "lobular_carcinoma"


PATIENTS = {
    "several slides per folder": [f"case{k:02}/{s}.svs" for k in range(4) for s in "ab"],
    "folders in between": [f"case{k:02}/slides/{s}.svs" for k in range(4) for s in "ab"],
    "tumor and normal of one patient": [
        f"{c}/P{k}/{s}.svs" for c in ("tumor", "normal") for k in range(4) for s in "ab"
    ],
    "accession numbers": [f"S19-{k}/{s}.svs" for k in range(4) for s in "ab"],
}
NO_PATIENTS = {
    "a flat folder": ["a.svs", "b.svs", "c.svs", "d.svs"],
    "one slide per folder": [f"case{k}/a{k}.svs" for k in range(5)],
    "classes": [f"{name}/{k}.svs" for name in ("benign", "malignant", "other") for k in range(3)],
    "batches": [f"batch_{k}/{s}{k}.svs" for k in range(4) for s in "abc"],
    "years": [f"{year}/{s}{year}.svs" for year in (2019, 2020, 2021) for s in "abc"],
    "many slides per folder": [f"P{k}/{s}_{k}.svs" for k in range(4) for s in range(30)],
    "most slides in one folder": [*(f"P0/{s}.svs" for s in range(9)), "P1/a.svs", "P2/b.svs"],
    "two folders": [f"P{k}/{s}{k}.svs" for k in range(2) for s in "abc"],
}


@pytest.mark.parametrize("names", PATIENTS.values(), ids=PATIENTS)
def test_folders_that_look_like_patients_are_patients(names):
    patients = patients_of(paths(*names), ROOT)
    expected = [next(part for part in Path(name).parts if any(map(str.isdigit, part))) for name in names]
    assert list(patients.of.values()) == expected and patients.source.startswith("the 4 folders ")


@pytest.mark.parametrize("names", NO_PATIENTS.values(), ids=NO_PATIENTS)
def test_other_folders_are_not(names):
    assert patients_of(paths(*names), ROOT).of == {}


def test_barcodes_begin_with_the_patient():
    names = [f"{k:08d}-1111-2222-3333-444455556666/tcga-05-42{k % 3:02}-01Z-00-DX{k}.svs" for k in range(6)]
    patients = patients_of(paths(*names, "control.svs"), ROOT)
    assert patients.source == "the first 12 characters of TCGA's barcodes"
    assert list(patients.of.values()) == ["TCGA-05-4200", "TCGA-05-4201", "TCGA-05-4202"] * 2
    assert set(patients_of(paths("C3L-00001-21.svs", "C3N-01234-22.svs"), ROOT).of.values()) == {
        "C3L-00001",
        "C3N-01234",
    }
    assert list(patients_of(paths("GTEX-1117F-0126.svs"), ROOT).of.values()) == ["GTEX-1117F"]
    assert patients_of(paths("TCGA-05-42500-x.svs"), ROOT).of == {}


def test_folders_are_patients_where_the_user_says_so():
    assert folders_as_patients(paths("smith/a.svs", "b.svs"), ROOT).of == {ROOT / "smith/a.svs": "smith"}


def test_folders_that_may_be_classes_are_described():
    names = [f"{name}/{k}.svs" for name, count in (("benign", 3), ("malignant", 2)) for k in range(count)]
    assert describe_class_folders(paths(*names), ROOT) == "benign (3 slides) and malignant (2 slides)"
    assert describe_class_folders(paths(*names, "a.svs"), ROOT) == ""
    assert describe_class_folders(paths("a/1.svs", "b/2.svs"), ROOT) == ""
