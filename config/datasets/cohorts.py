"""Write the slide sheets of the paper's three cohorts, and HIPT's published folds, from lists of their slides.

    python config/datasets/cohorts.py ../shared/manifests

The lists were published by others with their code: TCGA-NSCLC by TAKT (labels) and HIPT (folds), Camelyon16 by MS-CLAM
(agreeing with ACMIL and TransMIL), BRACS by ACMIL (labels of a data set under CC BY-NC 4.0).
"""

import csv
import sys
from pathlib import Path

from roformermil.runtime.records import write_rows

COLUMNS = ["slide_id", "patient_id", "label", "path", "exclude", "note"]
GROUPS = {"Group_BT": "benign", "Group_AT": "atypical", "Group_MT": "malignant"}
PARTS = {"train": "train", "val": "validation", "test": "test"}
# According to the organisers of Camelyon16
CAMELYON16_EXCLUDED = {
    "normal_086": ("normal", "mislabelled: it contains a tumour; published again as tumor_111"),
    "test_049": ("normal", "a duplicate"),
}
CAMELYON16_NOTES = {
    "tumor_111": "first published as normal_086",
    "test_114": "the annotation of its lesions is incomplete; its label is correct",
}


def read_rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def sheet_row(slide_id: str, patient: str, label: str, path: str, exclude: str = "", note: str = "") -> dict[str, str]:
    return dict(zip(COLUMNS, (slide_id, patient, label, path, exclude, note), strict=True))


def tcga_nsclc(lists: Path) -> list[dict[str, str]]:
    """A TCGA barcode starts with its patient: TCGA-05-4250-01Z-00-DX1 is of TCGA-05-4250.

    There is no column `site`: TCGA numbers hospitals per study, so every site has slides of one label only. That would
    be reported as a leak, although it follows from the numbering and not from anything that a model could learn.
    """
    slides = read_rows(lists / "tcga_nsclc/labels_takt.csv")
    return [sheet_row(s["slide_id"], s["slide_id"][:12], s["label"].upper(), f"{s['slide_id']}.svs") for s in slides]


def camelyon16(lists: Path) -> list[dict[str, str]]:
    """One slide per patient, each patient named after the slide. Paths are those of Camelyon16's bucket."""
    slides = [(s["slide_id"], s["label"], "") for s in read_rows(lists / "camelyon16/labels.csv")]
    slides += [(slide_id, label, why) for slide_id, (label, why) in CAMELYON16_EXCLUDED.items()]
    return [
        sheet_row(s, f"patient_{s}", label, f"{s}.tif", exclude, CAMELYON16_NOTES.get(s, ""))
        for s, label, exclude in slides
    ]


def bracs(lists: Path) -> list[dict[str, str]]:
    """Each slide counts as a patient: BRACS lists its patients in a spreadsheet that its terms protect. Paths are
    BRACS's own."""
    rows = []
    for s in read_rows(lists / "bracs/labels.csv"):
        path = f"{s['split']}/{s['group']}/{s['type']}/{s['slide_id']}.svs"
        rows.append(sheet_row(s["slide_id"], s["slide_id"], GROUPS[s["group"]], path))
    return rows


def hipt_folds(lists: Path) -> list[dict[str, str]]:
    """HIPT's ten splits of TCGA-NSCLC. Patients are in several parts of a fold: use with `group_by_patient: false`."""
    return [
        {"fold": str(fold), "slide_id": split[column], "part": part}
        for fold in range(10)
        for column, part in PARTS.items()
        for split in read_rows(lists / f"tcga_nsclc/hipt_10fold/splits_{fold}.csv")
        if split[column]
    ]


TABLES = {
    "tcga_nsclc.csv": tcga_nsclc,
    "camelyon16.csv": camelyon16,
    "bracs.csv": bracs,
    "tcga_nsclc_hipt_folds.csv": hipt_folds,
}


def write_tables(lists: Path, folder: Path) -> None:
    for name, make_rows in TABLES.items():
        write_rows(folder / name, make_rows(lists))


if __name__ == "__main__":
    write_tables(Path(sys.argv[1]), Path(__file__).parent)
