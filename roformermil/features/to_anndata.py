"""Features as AnnData, which scanpy and squidpy read: a tile an observation, its place in `obsm["spatial"]`."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from roformermil.errors import StoreError
from roformermil.features.store import read_store

if TYPE_CHECKING:
    from anndata import AnnData


def to_anndata(store: Path | str) -> "AnnData":
    """A slide's store as AnnData. Needs the extra `[anndata]`.

    `X`: (n, d) float32 features; `obs`: `x, y` (level-0 pixel of the tile's top-left corner), `grid_x, grid_y`;
    `obsm["spatial"]`: (n, 2) the tiles' centres in level-0 pixels; `uns["slide"]`: the store's attributes.
    Raises StoreError.
    """
    import pandas as pd
    from anndata import AnnData

    stored = read_store(Path(store))
    step = stored.attributes.get("base_px")
    if not step:
        raise StoreError(f"{store}: does not say its step, so its tiles have no centres")
    (x, y), (column, row) = stored.coords.T, stored.grid.T
    obs = pd.DataFrame(
        {"x": x, "y": y, "grid_x": column, "grid_y": row},
        index=pd.Index([f"tile_{k}" for k in range(len(x))], dtype=object),
    )
    said = {key: value for key, value in stored.attributes.items() if isinstance(value, (str, int, float))}
    data = AnnData(
        X=stored.features.astype(np.float32), obs=obs, obsm={"spatial": stored.coords + step / 2}, uns={"slide": said}
    )
    for axis in (data.obs, data.var):  # pandas 3 makes them a kind of string that AnnData's files do not take yet
        axis.index = axis.index.astype(object)
    return data
