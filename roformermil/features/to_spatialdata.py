"""Features as SpatialData (Marconato et al. 2024), for squidpy and napari-spatialdata."""

from pathlib import Path
from typing import TYPE_CHECKING

from roformermil.features.to_anndata import to_anndata

if TYPE_CHECKING:
    from spatialdata import SpatialData

TILES = "tiles"  # the name of the shapes


def to_spatialdata(store: Path | str) -> "SpatialData":
    """A slide's store as SpatialData, n tiles by d features. Needs the extra `[spatialdata]`.

    `shapes["tiles"]`: n squares in level-0 pixels (coordinate system `global`), and in micrometres (`um`) if the store
    has the slide's mpp. `tables["features"]`: the result of `to_anndata`. Raises StoreError.
    """
    import pandas as pd
    import shapely
    from geopandas import GeoDataFrame
    from spatialdata import SpatialData
    from spatialdata.models import ShapesModel, TableModel
    from spatialdata.transformations import BaseTransformation, Identity, Scale

    table = to_anndata(store)
    slide, corners = table.uns["slide"], table.obs[["x", "y"]].to_numpy()
    squares = shapely.box(*corners.T, *(corners + slide["base_px"]).T)
    systems: dict[str, BaseTransformation] = {"global": Identity()}
    if mpp := slide.get("mpp"):
        systems["um"] = Scale([mpp, mpp], axes=("x", "y"))
    shapes = ShapesModel.parse(GeoDataFrame(geometry=squares), transformations=systems)
    # categories as objects: AnnData cannot write pandas 3's own string type yet
    table.obs["region"] = pd.Categorical([TILES] * len(table), categories=pd.Index([TILES], dtype=object))
    table.obs["tile"] = shapes.index
    table = TableModel.parse(table, region=TILES, region_key="region", instance_key="tile")
    return SpatialData(shapes={TILES: shapes}, tables={"features": table})
