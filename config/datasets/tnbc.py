"""Write bags of real cells whose label is their arrangement, and their slide sheet: `make tnbc`.

    python config/datasets/tnbc.py data/tnbc

Keren et al. (Cell 2018) imaged fields of 800 x 800 um of 33 triple-negative breast cancers and named the type of each cell.
In 18 patients tumour and immune cells are mixed, in 15 compartmentalised. The table of 170,171 cells is `TNBC_pheno` of the R
package funkycells (GPL-3; data of angelolab.com/mibi-data). It is read from `../shared` if it is there; otherwise it is
downloaded into the folder of the bags, unless it was put there by hand.

A bag is 100 tumour cells and 100 immune cells of a patient, drawn at random, eight bags for each. A cell's features are only
its kind, so all bags contain the same vectors in the same order, and nothing but their positions tells the labels apart.
"""

import hashlib
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import requests

from roformermil.cohort.download import RemoteFile, download_slide
from roformermil.config.dataset import Source
from roformermil.errors import RoFormerMILError
from roformermil.runtime.records import write_rows

SHARED = Path("../shared/cohorts/tnbc_mibi/cells.csv.gz")
# CRAN's read-only mirror, and the checksum that CRAN's file MD5 of the same commit states
MIRROR = "https://raw.githubusercontent.com/cran/funkycells/f3c4ba720dec1dbf14de5bbb0e030d76d8a28742"
PUBLISHED = RemoteFile(f"{MIRROR}/data/TNBC_pheno.rda", "c4ab4759fe84a2805408d04943b0ca21")

COLUMNS = ["Class", "Person", "cellx", "celly", "Phenotype"]
LABELS = {0: "mixed", 1: "compartmentalised"}
NOT_IMMUNE = ["Tumor", "Mesenchymal", "Endothelial", "Other"]
UM_PER_PIXEL = 800 / 2048  # of the field
GRID_UM = 10.0
MPP = 0.5  # of the coordinates in the bags' files: there is no slide that would give them a unit
BAGS, CELLS = 8, 100  # bags of a patient; cells of each kind in a bag


def find_table(folder: Path) -> Path:
    """The table of cells: that of `../shared` or, downloaded if it is not there, `TNBC_pheno.rda` in the folder.

    Raises SystemExit, saying what to download, where it did not arrive, or is not the published file."""
    if SHARED.exists():
        return SHARED
    path = folder / "TNBC_pheno.rda"
    by_hand = f"Download {PUBLISHED.url} and put it at {path.absolute()}"
    try:
        with requests.Session() as session:
            download_slide(path, PUBLISHED, Source(kind="http", url=MIRROR), session)
    except RoFormerMILError as error:
        raise SystemExit(f"the table of cells did not arrive: {error}\n{by_hand}") from error
    if hashlib.md5(path.read_bytes()).hexdigest() != PUBLISHED.md5:
        raise SystemExit(f"{path.absolute()}: not the published table (MD5 {PUBLISHED.md5}). {by_hand}")
    return path


def read_cells(path: Path) -> pd.DataFrame:
    """The table of cells with the columns COLUMNS: a CSV, or a data frame that R saved. Raises SystemExit for another one."""
    if path.suffix == ".rda":
        import rdata  # of the extra `dev`, as nothing else needs it

        cells = rdata.read_rda(path)["TNBC_pheno"]
    else:
        cells = pd.read_csv(path)
    if missing := set(COLUMNS) - set(cells):
        raise SystemExit(f"{path.absolute()}: not the table of cells: it lacks {', '.join(sorted(missing))}")
    return cells[COLUMNS].astype({"Class": float, "Person": float}).astype({"Class": int, "Person": int})


def draw_bag(cells: pd.DataFrame, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """CELLS tumour cells of a patient and then as many immune cells, no two of them in one square of the grid.

    Returns their features (2 CELLS, 2) float32, one-hot, and squares (2 CELLS, 2) int64. Raises SystemExit where there are too few.
    """
    cells = cells[(cells.Phenotype == "Tumor") | ~cells.Phenotype.isin(NOT_IMMUNE)]
    cells = cells.iloc[rng.permutation(len(cells))]
    squares = np.floor(cells[["cellx", "celly"]].to_numpy() * UM_PER_PIXEL / GRID_UM).astype(np.int64)
    first = np.sort(np.unique(squares, axis=0, return_index=True)[1])
    is_tumour = (cells.Phenotype == "Tumor").to_numpy()[first]
    tumour, immune = first[is_tumour][:CELLS], first[~is_tumour][:CELLS]
    if min(len(tumour), len(immune)) < CELLS:
        raise SystemExit(f"patient {cells.Person.iloc[0]}: fewer than {CELLS} tumour or immune cells")
    # In the same order in all bags: models without positions then predict exactly the same. In the drawn order they tell
    # patients with many tumour cells apart by rounding errors.
    return np.repeat(np.eye(2, dtype=np.float32), CELLS, axis=0), squares[np.concatenate([tumour, immune])]


def write_bag(path: Path, features: np.ndarray, squares: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        file["features"] = features
        file["coords"] = squares * round(GRID_UM / MPP)
        file["coords"].attrs.update({"patch_size_level0": round(GRID_UM / MPP), "mpp": MPP})


def write_bags(cells: pd.DataFrame, folder: Path) -> None:
    """Write each bag as `{slide_id}.h5` and then their sheet, `slides.csv`."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for person, of_person in cells.groupby("Person"):
        for bag in range(BAGS):
            slide_id = f"patient_{person:02}_bag_{bag}"
            write_bag(folder / f"{slide_id}.h5", *draw_bag(of_person, np.random.default_rng([person, bag])))
            label = LABELS[of_person.Class.iloc[0]]
            row = {"slide_id": slide_id, "patient_id": f"patient_{person:02}", "label": label, "path": f"{slide_id}.h5"}
            rows.append(row)
    write_rows(folder / "slides.csv", rows)
    print(f"{len(rows)} bags of {cells.Person.nunique()} patients in {folder}")


if __name__ == "__main__":
    out = Path(sys.argv[1])
    write_bags(read_cells(find_table(out)), out)
