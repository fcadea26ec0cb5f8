"""Write bags of breast cancers from published maps of lymphocytes and tumour, and their slide sheets: `make til`.

    python config/datasets/til.py ../shared/cohorts/tcga_brca_til data/til

TCGA-BRCA, 1,015 slides of 958 patients. `maps.npz` contains maps that two networks made, lymphocyte and tumour probability at 50 um per
pixel (github.com/mathbiol/tcgatil), cut into tiles of 400 um. Four of them make a tile of 800 um with 10 values: the means of both in
its four quarters, and their mean standard deviations within quarters. So a slide has some 400 tiles, few enough to train on all of them:
drawing some would take away the very neighbours that positions are about. `slides.csv` has the labels: ER status and age from slideflow,
histology and survival from SurvPath.

There is one sheet for each label, `er.csv` (947 slides) and `histology.csv` (832), of the slides that have it; `er_here.csv` and
`er_elsewhere.csv` with one half of the hospitals each, for external validation (config/til_external.yaml); and `survival.csv` (832
slides, 95 deaths; config/til_survival.yaml).
"""

import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from roformermil.runtime.records import write_rows

LABELS = ["er", "histology"]
IDS = ["slide_id", "patient_id", "path", "site"]
COVARIATES = ["age", *LABELS]  # columns that models may use beside features, except the sheet's own label
MPP = 0.25
TILE_PX = 3200  # 800 um


def write_bags(source: Path, folder: Path) -> None:
    """Write each labelled slide as `{slide_id}.h5`, then a sheet for each label. Raises SystemExit without the source's files."""
    missing = [path.absolute() for path in (source / "maps.npz", source / "slides.csv") if not path.exists()]
    if missing:
        text = "\n".join(map(str, missing))
        raise SystemExit(
            f"no such file:\n{text}\nThe maps cut into tiles are part of ../shared; they cannot be downloaded."
        )
    folder.mkdir(parents=True, exist_ok=True)
    slides = pd.read_csv(source / "slides.csv")
    with np.load(source / "maps.npz") as maps:
        features, grid, counts = maps["features"], maps["grid"], maps["tiles"]
        if slides.slide_id.tolist() != maps["slide_id"].tolist():
            raise SystemExit(f"{source.absolute()}: slides.csv and maps.npz do not list the same slides")
    slides["end"] = np.cumsum(counts)
    slides["start"] = slides["end"] - counts
    slides = slides.rename(columns={"survival_months": "time"}).assign(path=slides.slide_id + ".h5")
    for slide in slides.dropna(subset=[*LABELS, "time"], how="all").itertuples():
        tiles = slice(slide.start, slide.end)
        write_bag(folder / f"{slide.slide_id}.h5", *merge_tiles(features[tiles], grid[tiles]))
    for label in LABELS:
        sheet = slides.dropna(subset=label).assign(label=slides[label])
        write_sheet(folder / f"{label}.csv", sheet, ["label"])
        if label == "er":
            sites = sheet.site.value_counts(sort=False).sort_index().sort_values(ascending=False, kind="stable")
            here = sheet.site.isin(sites.index[::2])  # from the largest to the smallest in turn: halves of like size
            write_sheet(folder / "er_here.csv", sheet[here], ["label"])
            write_sheet(folder / "er_elsewhere.csv", sheet[~here], ["label"])
    followed = slides.dropna(subset=["time", "event"])
    write_sheet(folder / "survival.csv", followed.assign(event=followed.event.astype(int)), ["time", "event"])


def write_sheet(path: Path, sheet: pd.DataFrame, labels: list[str]) -> None:
    """Write a slide sheet and say how many slides it has. labels: its columns that are learned."""
    columns = [
        *IDS,
        *labels,
        *(name for name in COVARIATES if "label" not in sheet or not sheet[name].equals(sheet.label)),
    ]
    cells = sheet[columns].astype(object).where(sheet[columns].notna(), None)  # an empty cell where one is missing
    write_rows(path, cells.to_dict("records"), columns)
    counts = f"{len(sheet)} slides of {sheet.patient_id.nunique()} patients from {sheet.site.nunique()} sites"
    print(f"{path}: {counts}")


def merge_tiles(features: np.ndarray, grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features (m, 10), 0 to 1, and grid (m, 2) of tiles twice as wide, of which each contains one to four of the tiles.

    features: (n, 10) uint8, the means of lymphocyte and tumour in each tile's four quarters, then the two standard deviations;
    grid: (n, 2) columns and rows. A quarter without a tile, outside the tissue, has the mean of the others.
    """
    means, deviations = features[:, :8].reshape(-1, 4, 2).mean(axis=1), features[:, 8:]
    merged, index = np.unique(grid // 2, axis=0, return_inverse=True)
    quarters = np.full((len(merged), 4, 4), np.nan)  # means, then deviations
    column, row = (grid % 2).T
    quarters[index, 2 * row + column] = np.concatenate([means, deviations], axis=1)
    average = np.nanmean(quarters, axis=1)
    means = np.where(np.isnan(quarters), average[:, None], quarters)[:, :, :2].reshape(-1, 8)
    return np.concatenate([means, average[:, 2:]], axis=1) / 255, merged


def write_bag(path: Path, features: np.ndarray, grid: np.ndarray) -> None:
    """features: (m, 10), grid: (m, 2) columns and rows of tiles."""
    with h5py.File(path, "w") as file:
        file["features"] = features.astype(np.float32)
        file["coords"] = grid.astype(np.int64) * TILE_PX
        file["coords"].attrs.update({"patch_size_level0": TILE_PX, "mpp": MPP})


if __name__ == "__main__":
    write_bags(Path(sys.argv[1]), Path(sys.argv[2]))
