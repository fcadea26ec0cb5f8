"""Features and coordinates from .h5 files of CLAM (Lu et al. 2021), TRIDENT (Zhang et al. 2025), STAMP (El Nahhas et
al. 2024) and alike, one file per slide. What cannot be used is refused by name."""

from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from roformermil.errors import SlideError, Status
from roformermil.features.coordinates import UNIT, place_tiles, unreadable
from roformermil.runtime.text import join_some

EXTRACTOR = (
    "extractor",
    "feats_extractor",
    "feature_extractor",
    "encoder",
    "encoder_name",
    "patch_encoder",
    "model",
    "model_name",
)
FEATURES = ("features", "feats", "embeddings")  # names of the array of vectors, by pipeline
SMALLEST, MAX_LOST = 3e-6, 0.1  # float16 stores smaller values with errors over 1%; so many may be (fraction)
MAX_ERROR = 0.1  # of float16's rounding, as a fraction of how much a value differs between a slide's tiles
ALMOST_ZERO = 1e-6  # of a slide's largest value: a tile without larger ones has no features
MAX_ZEROS = 0.05  # of a slide's tiles may lack features
MAX_EQUAL = 0.05  # of a slide's tiles have the same features without a warning
CONVERT = "write features and coords to an .h5 file (docs/slides.md, Features from other pipelines)"
SIGNATURES = {
    b"version https://git-lfs": "a pointer of Git LFS to the real file; fetch that: git lfs pull",
    b"<": "an HTML or XML page; download the file itself",
    b"\x1f\x8b": "compressed by gzip; unpack it",
}
PYTORCH = (".pt", ".pth", ".pkl", ".bin")
TABLES = (".npy", ".npz", ".csv", ".parquet", ".feather", ".zarr", ".safetensors")
SLIDES = (".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".czi", ".dcm")
SUFFIXES = {
    PYTORCH: "a file of PyTorch, without coordinates; use the .h5 file of the same slide and run (CLAM: h5_files/NAME.h5 "
    f"instead of pt_files/NAME.pt), or {CONVERT}",
    TABLES: f"not an .h5 file; {CONVERT}",
    SLIDES: "a slide; name its .h5 file in the column path, or set encoder.name to encode slides",
}


class TileFeatures(NamedTuple):
    """A slide's n tiles as another pipeline encoded them."""

    features: np.ndarray  # (n, d) float32
    coords: np.ndarray  # (n, 2) int32, level-0 pixels; um where attributes has the unit "um"
    base_px: int  # distance between tiles
    grid: np.ndarray  # (n, 2) int32
    attributes: dict[str, Any]  # for the store
    warnings: list[str]
    extractor: str  # what made the features, as the file states it


def read_h5(path: Path, sheet_mpp: float | None = None) -> TileFeatures:
    """A slide's tiles. sheet_mpp: um/px of the slide, which converts coordinates in um.

    Raises SlideError: `empty` without tiles; `unreadable` for a file without valid features and coordinates, or whose
    tiles do not lie in a grid.
    """
    try:
        check_is_hdf5(path)
        features, coords, attributes = _read_arrays(path)
        warnings: list[str] = []
        rows = _encoded_rows(features, coords, warnings)
        _check_values(features[rows], rows, warnings)
        rows = _distinct_rows(features, coords, rows, warnings)
        coords, grid, base_px, kept, odd = place_tiles(coords[rows], attributes, sheet_mpp, rows)
        features, extractor = features[rows].astype(np.float32), _extractor(attributes)
        return TileFeatures(features, coords, base_px, grid, kept, warnings + odd, extractor)
    except SlideError as error:
        raise SlideError(Status(error.status), f"{path}: {error}") from error
    except (OSError, KeyError, TypeError, ValueError) as error:
        message = f"{path}: not features and coordinates in HDF5 ({error}); copy it again or make it again"
        raise SlideError(Status.UNREADABLE, message) from error


def check_is_hdf5(path: Path) -> None:
    """Raises SlideError that says what another file is, and what to do."""
    if not path.exists():
        raise SlideError(Status.MISSING, "no such file")
    start = b""
    if path.is_file():
        with open(path, "rb") as file:
            start = file.read(100).lstrip()
        if not start:
            raise SlideError(Status.EMPTY_FILE, "0 bytes; copy it again")
        if h5py.is_hdf5(path):
            return
    kinds = [kind for signature, kind in SIGNATURES.items() if start.startswith(signature)]
    kinds += [kind for suffixes, kind in SUFFIXES.items() if path.suffix.lower() in suffixes]
    raise unreadable(f"is {[*kinds, 'not an HDF5 file; ' + CONVERT][0]}")


def _read_arrays(path: Path) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Features (n, d) and coords (n, 2) as stored, and the attributes of the file and of both."""
    with h5py.File(path, "r", locking="best-effort") as file:
        name = next((name for name in FEATURES if isinstance(file.get(name), h5py.Dataset)), None)
        has_coords = isinstance(file.get("coords"), h5py.Dataset)
        if name and file[name].size and (file[name].ndim == 1 or (len(file[name]) == 1 and not has_coords)):
            remedy = "use the features of its tiles (TRIDENT: features_ENCODER, not slide_features_ENCODER)"
            raise unreadable(f"{name} {file[name].shape} is one vector for the whole slide; {remedy}")
        if not name or not has_coords:
            content = f"contains {', '.join(file) or 'nothing'}; expected coords and one of {', '.join(FEATURES)}"
            remedy = "use the file that contains both" if name or has_coords else "use the file of the tiles' features"
            raise unreadable(f"{content}; {remedy}, or {CONVERT}")
        features, coords = np.asarray(file[name]), np.asarray(file["coords"])
        of_features = {key: value for key, value in file[name].attrs.items() if not UNIT.search(key)}
        attributes = {**file.attrs, **of_features, **file["coords"].attrs}
    for array in (features, coords):
        if array.dtype.kind not in "fiu":
            raise TypeError(f"{array.dtype} instead of numbers")
    coords = coords[0] if coords.ndim == 3 and len(coords) == 1 else coords
    if not len(coords) and not features.size:
        raise SlideError(Status.EMPTY, "has no tiles")
    if features.ndim > 2 and [side for side in (*features.shape, 1) if side != 1][:-1] in ([len(coords)], []):
        features = features.reshape(len(coords), -1)  # (1, n, d) of CLAM, (n, 1, d), (n, d, 1, 1)
    if features.ndim != 2 or coords.shape != (len(features), 2):
        shapes = f"features {features.shape} and coords {coords.shape} are not (n, d) and (n, 2)"
        raise unreadable(shapes + _shape_hint(features.shape, coords.shape))
    return features, coords, attributes


def _extractor(attributes: dict[str, Any]) -> str:
    """The model that the file's attributes name; "" if none does."""
    values = [np.ravel(attributes[name]).tolist() for name in EXTRACTOR if name in attributes]
    texts = [
        value.decode() if isinstance(value, bytes) else value for (value,) in filter(lambda v: len(v) == 1, values)
    ]
    return next((text for text in texts if isinstance(text, str) and text.strip()), "")


def _shape_hint(features: tuple[int, ...], coords: tuple[int, ...]) -> str:
    """What is wrong with shapes, and what to do."""
    if len(coords) == 2 and coords[1] in (3, 4, 5) and coords[0] == features[0]:
        return "; keep only x and y of each tile's top-left corner in coords"
    if (len(coords) == 2 and coords == (2, features[0])) or features[1:] == coords[:1] != features[:1]:
        return "; one of them is transposed"
    return "; each tile needs one vector and one pair of coordinates: make the file again"


def _encoded_rows(features: np.ndarray, coords: np.ndarray, warnings: list[str]) -> np.ndarray:
    """The rows of tiles with features: zeros are padding, or tiles that were not encoded, of which there may be few."""
    least, most = (extreme(axis=1, initial=0).astype(np.float64) for extreme in (features.min, features.max))
    largest = np.maximum(most, -least)
    zeros = largest <= ALMOST_ZERO * largest[np.isfinite(largest)].max(initial=0)
    nowhere = (coords == 0).all(axis=1) | ~(coords >= 0).all(axis=1)
    if zeros.any():
        _, place, counts = np.unique(coords, axis=0, return_inverse=True, return_counts=True)
        is_padding = nowhere | (counts[place] > 1)
        only = "almost zeros" if largest[zeros].any() else "zeros"
        lack = f"only {only} as features: {_tile_names(np.flatnonzero(zeros))}"
        if zeros.all() or (zeros & ~is_padding).sum() > MAX_ZEROS * len(zeros):
            raise unreadable(f"{zeros.sum()} of {len(zeros)} tiles have {lack}; encode the slide again")
        warnings.append(f"{zeros.sum()} of {len(zeros)} tiles were dropped, since they have {lack}")
    rows = np.flatnonzero(~zeros)
    end = _equal_at_end(features, coords, rows)
    if len(end) < 2 or len(end) == len(rows) or not nowhere[end[-1]]:
        return rows
    padding = f"they repeat the same features and coordinates at the end: {_tile_names(end)}"
    warnings.append(f"{len(end)} of {len(features)} tiles were dropped, since {padding}")
    return rows[: -len(end)]


def _equal_at_end(features: np.ndarray, coords: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The last of these rows, as many as have the same coordinates and, as stored, the same features."""
    with np.errstate(over="ignore"):  # refused later
        last = features[rows[-1]].astype(np.float16)
        for count, row in enumerate(rows[::-1]):
            same_place = np.array_equal(coords[row], coords[rows[-1]], equal_nan=True)
            if not same_place or not np.array_equal(features[row].astype(np.float16), last):
                return rows[len(rows) - count :]
    return rows


def _distinct_rows(features: np.ndarray, coords: np.ndarray, rows: np.ndarray, warnings: list[str]) -> np.ndarray:
    """Of these rows those that do not repeat one before, as a pipeline writes that appends to a file."""
    _, place, counts = np.unique(coords[rows], axis=0, return_inverse=True, return_counts=True)
    kept, seen = counts[place] == 1, set()
    for k in np.flatnonzero(~kept).tolist():
        row = (int(place[k]), features[rows[k]].tobytes())
        kept[k] = row not in seen
        seen.add(row)
    if not kept.all():
        names = _tile_names(rows[~kept])
        warnings.append(f"{(~kept).sum()} of {len(features)} tiles were dropped, since they are repeated: {names}")
    return rows[kept]


def _check_values(features: np.ndarray, rows: np.ndarray, warnings: list[str]) -> None:
    """Raises SlideError for features that a store, which has float16, cannot hold; warns of suspicious ones."""
    if (bad := ~np.isfinite(features).all(axis=1)).any():
        raise unreadable(f"its features are not finite: {_tile_names(rows[bad])}; encode the slide again")
    magnitudes = np.abs(features.astype(np.float64 if features.dtype == np.float64 else np.float32))
    scale = "multiply the features of all slides by one number before importing them"
    if (largest := magnitudes.max()) > np.finfo(np.float16).max:
        raise unreadable(
            f"its features are not finite in float16 (up to {largest:.2g}, float16 ends at 65504); {scale}"
        )
    lost = (magnitudes > 0) & (magnitudes < SMALLEST)
    if features.dtype != np.float16 and lost.sum() > MAX_LOST * np.count_nonzero(magnitudes):
        share, values = lost.sum() / np.count_nonzero(magnitudes), magnitudes[lost]
        small = f"{share:.0%} of its values are {values.min():.2g} to {values.max():.2g}"
        raise unreadable(f"{small}, which float16 stores as 0 or with errors of more than 1%; {scale}")
    if (share := _lost_columns(features)) > MAX_LOST:
        values = f"{share:.0%} of its values differ so little between tiles, compared with their mean"
        remedy = "subtract the mean of each value from the features of all slides before importing them"
        raise unreadable(f"{values}, that float16, which is stored, would lose the differences; {remedy}")
    if features.dtype.kind != "f":
        warnings.append(f"its features are integers ({features.dtype})")
    hashes = np.array([hash(row.tobytes()) for row in features])
    equal = np.unique(hashes, return_counts=True)[1].max()
    if equal > max(1, MAX_EQUAL * len(features)):
        warnings.append(f"{equal} of {len(features)} tiles have the same features")


def _lost_columns(features: np.ndarray) -> float:
    """Fraction of the columns, of those that are not constant, whose differences between tiles float16 rounds away."""
    lost = varying = 0
    for block in np.array_split(features, -(-features.shape[1] // 64), axis=1):  # in little memory
        block, half = block.astype(np.float64), block.astype(np.float16).astype(np.float64)
        noise = 8 * np.finfo(features.dtype if features.dtype.kind == "f" else np.float32).eps
        spread, error = block.std(axis=0), (half - block).std(axis=0)
        is_varying = spread > noise * np.abs(block).max(axis=0)
        lost += (is_varying & (error > MAX_ERROR * spread)).sum()
        varying += is_varying.sum()
    return lost / max(varying, 1)


def _tile_names(rows: np.ndarray) -> str:
    return join_some([f"tile {row}" for row in rows], 3)
