"""Features as AnnData, for scanpy and squidpy."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from roformermil.features.store import read_store_in_pixels

if TYPE_CHECKING:
    from anndata import AnnData


def to_anndata(store: Path | str) -> "AnnData":
    """A slide's store as AnnData, n tiles by d features. Needs the extra `[anndata]`.

    `X`: (n, d) float32 features; `obs`: `x`, `y` (level-0 pixel of the tile's top-left corner), `grid_x`, `grid_y`;
    `obsm["spatial"]`: (n, 2) centres of the tiles in level-0 pixels; `uns["slide"]`: the store's attributes. Raises
    StoreError.
    """
    import pandas as pd
    from anndata import AnnData

    slide = read_store_in_pixels(Path(store))
    (x, y), (column, row) = slide.coords.T, slide.grid.T
    names = pd.Index([f"tile_{k}" for k in range(len(x))], dtype=object)
    obs = pd.DataFrame({"x": x, "y": y, "grid_x": column, "grid_y": row}, index=names)
    data = AnnData(slide.features.astype(np.float32), obs, uns={"slide": slide.plain_attributes()})
    data.obsm["spatial"] = slide.coords + slide.attributes["base_px"] / 2
    for axis in (data.obs, data.var):  # AnnData cannot write pandas 3's own string type yet
        axis.index = axis.index.astype(object)
    return data
