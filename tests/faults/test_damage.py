"""Real slides, cut or corrupted at 200 random places: each has a status, and intact slides are not affected."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import tifffile

from roformermil.errors import Status
from tests.faults.running import read_files, run, write_table

PLACES = 200
KINDS = ("header", "directory", "tiles", "cut")


def damage(path, target, kind, rng):
    """Copy a slide with up to 4,000 bytes overwritten in its header, directories or tiles, or cut short."""
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        directories = [page.offset for page in tiff.pages]
        starts = [start for page in tiff.pages for start in page.dataoffsets]
    if kind == "cut":
        target.write_bytes(data[: rng.integers(0, len(data))])
        return
    region = {"header": 0, "directory": rng.choice(directories), "tiles": rng.choice(starts)}[kind]
    start = region + rng.integers(0, 200)
    noise = rng.integers(0, 256, rng.integers(1, 4000 if kind == "tiles" else 60), dtype=np.uint8).tobytes()
    data[start : start + len(noise)] = noise[: max(0, len(data) - start)]
    target.write_bytes(data)


@pytest.mark.shared
def test_200_damaged_slides_have_200_named_outcomes(shared, atlas, tmp_path):
    intact = [shared.resolve() / "slides/CMU-1-Small-Region.svs", *atlas[:2]]
    rng = np.random.default_rng(0)
    damaged = [tmp_path / f"{KINDS[k % len(KINDS)]}_{k}.svs" for k in range(PLACES)]
    for k, path in enumerate(damaged):
        damage(intact[k % len(intact)], path, KINDS[k % len(KINDS)], rng)
    alone = run(write_table(tmp_path / "intact.csv", intact), tmp_path / "alone")
    sheet = write_table(tmp_path / "all.csv", [*damaged[:100], *intact, *damaged[100:]])
    first, second = run(sheet, tmp_path / "first"), run(sheet, tmp_path / "second")

    records = {record.slide_id: record for record in first}
    assert len(records) == PLACES + len(intact) and {record.status for record in first} <= set(Status)
    assert all(record.message for record in first if not record.is_ok)
    lost = Counter(path.stem.split("_")[0] for path in damaged if not records[path.stem].is_ok)
    assert min(lost["header"], lost["directory"], lost["cut"]) >= PLACES / 8 and lost["tiles"] >= 5, lost
    assert max(record.seconds for record in first) < 60, "none stalled until the time-out"

    assert [replace(record, seconds=0) for record in first] == [replace(record, seconds=0) for record in second]
    assert all(record.is_ok for record in alone)
    for record in alone:
        assert records[record.slide_id].fingerprint == record.fingerprint
        store = f"features/{record.slide_id}.zarr"
        assert read_files(tmp_path / "first" / store) == read_files(tmp_path / "alone" / store)
    assert not [name for name in read_files(tmp_path / "first") if "/." in f"/{name}"], "no scratch file is left"
