"""Makes .h5 files as other pipelines write them."""

from pathlib import Path

import h5py
import numpy as np

COORDS = np.array([[10240, 512], [10240, 1024], [10752, 512], [12288, 2048]])
VECTORS = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)


def write_h5(path: Path, features=VECTORS, coords=COORDS, name: str = "features", of_file=None, **attributes) -> Path:
    """A file of features and coordinates (none where that is None), with attributes of the file and of `coords`."""
    with h5py.File(path, "w") as file:
        file.attrs.update(of_file or {})
        file[name] = features
        if coords is not None:
            file["coords"] = coords
            file["coords"].attrs.update(attributes)
    return path
