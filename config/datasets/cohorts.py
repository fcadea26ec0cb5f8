"""Write the slide sheets of the paper's three cohorts, and HIPT's published folds, from lists of their slides.

    python config/datasets/cohorts.py ../shared/manifests

The lists are facts that others published with their code: TCGA-NSCLC by TAKT (labels) and HIPT (folds), Camelyon16 by MS-CLAM
(agreeing with ACMIL and TransMIL), BRACS by ACMIL (labels of a data set under CC BY-NC 4.0).
"""

import csv
import sys
from pathlib import Path

HERE = Path(__file__).parent
COLUMNS = ["slide_id", "patient_id", "label", "path", "exclude", "note"]
GROUPS = {"Group_BT": "benign", "Group_AT": "atypical", "Group_MT": "malignant"}
PARTS = {"train": "train", "val": "validation", "test": "test"}
# what the organisers of Camelyon16 say of single slides
CAMELYON16_LEFT_OUT = {
    "normal_086": ("normal", "mislabelled: it holds a tumour; published again as tumor_111"),
    "test_049": ("normal", "a duplicate"),
}
CAMELYON16_NOTES = {
    "tumor_111": "first published as normal_086",
    "test_114": "the annotation of its lesions is not complete; its label holds",
}


def read(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def row(slide_id: str, patient: str, label: str, path: str, exclude: str = "", note: str = "") -> dict[str, str]:
    return dict(zip(COLUMNS, (slide_id, patient, label, path, exclude, note), strict=True))


def tcga_nsclc(lists: Path) -> list[dict[str, str]]:
    """A TCGA barcode begins with its patient: TCGA-05-4250-01Z-00-DX1 is of TCGA-05-4250.

    No column `site`: the next two digits are of a hospital in one study, so that each has one label by the way they are given
    out, not by what a model could have learned.
    """
    slides = read(lists / "tcga_nsclc/labels_takt.csv")
    ids = ((s["slide_id"], s["label"].upper()) for s in slides)
    return [row(slide, slide[:12], label, f"{slide}.svs") for slide, label in ids]


def camelyon16(lists: Path) -> list[dict[str, str]]:
    """One slide a patient, who is named so that this is seen to be known. Paths are those of its bucket."""
    slides = [(s["slide_id"], s["label"]) for s in read(lists / "camelyon16/labels.csv")]
    rows = [row(s, f"patient_{s}", label, f"{s}.tif", note=CAMELYON16_NOTES.get(s, "")) for s, label in slides]
    return rows + [row(s, f"patient_{s}", label, f"{s}.tif", why) for s, (label, why) in CAMELYON16_LEFT_OUT.items()]


def bracs(lists: Path) -> list[dict[str, str]]:
    """Patients are in BRACS' own spreadsheet alone, behind its terms: here each slide stands for one. Paths are BRACS' own."""
    rows = []
    for s in read(lists / "bracs/labels.csv"):
        path = f"{s['split']}/{s['group']}/{s['type']}/{s['slide_id']}.svs"
        rows.append(row(s["slide_id"], s["slide_id"], GROUPS[s["group"]], path))
    return rows


def hipt_folds(lists: Path) -> list[dict[str, str]]:
    """HIPT's ten splits of TCGA-NSCLC. Patients are on both sides of them: use with `group_by_patient: false`."""
    return [
        {"fold": str(fold), "slide_id": split[column], "part": part}
        for fold in range(10)
        for column, part in PARTS.items()
        for split in read(lists / f"tcga_nsclc/hipt_10fold/splits_{fold}.csv")
        if split[column]
    ]


TABLES = {
    "tcga_nsclc.csv": tcga_nsclc,
    "camelyon16.csv": camelyon16,
    "bracs.csv": bracs,
    "tcga_nsclc_hipt_folds.csv": hipt_folds,
}


def table(rows: list[dict[str, str]]) -> str:
    return "".join(",".join(cells) + "\n" for cells in [list(rows[0]), *(list(r.values()) for r in rows)])


if __name__ == "__main__":
    for name, rows_of in TABLES.items():
        (HERE / name).write_text(table(rows_of(Path(sys.argv[1]))))
