"""Real slides cut and corrupted at 200 seeded places: a named outcome for each, and the healthy ones unaffected."""

import numpy as np
import pytest
import tifffile

from roformermil.errors import Status
from tests.faults.conftest import content, run, write_sheet

PLACES = 200
KINDS = ("header", "directory", "tiles", "cut")


def damage(path, target, kind, rng):
    """A copy of a slide with up to 4,000 bytes overwritten in its header, its directories or its tiles, or cut short."""
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        directories = [page.offset for page in tiff.pages]
        starts = [start for page in tiff.pages for start in page.dataoffsets]
    if kind == "cut":
        target.write_bytes(data[: rng.integers(0, len(data))])
        return
    start = {"header": 0, "directory": rng.choice(directories), "tiles": rng.choice(starts)}[kind] + rng.integers(
        0, 200
    )
    noise = rng.integers(0, 256, rng.integers(1, 4000 if kind == "tiles" else 60), dtype=np.uint8).tobytes()
    data[start : start + len(noise)] = noise[: max(0, len(data) - start)]
    target.write_bytes(data)


@pytest.mark.shared
def test_200_damaged_slides_have_200_named_outcomes(shared, atlas, tmp_path):
    healthy = [shared.resolve() / "slides/CMU-1-Small-Region.svs", *atlas[:2]]
    rng = np.random.default_rng(0)
    damaged = []
    for k in range(PLACES):
        kind = KINDS[k % len(KINDS)]
        damaged.append(tmp_path / f"{kind}_{k}.svs")
        damage(healthy[k % len(healthy)], damaged[-1], kind, rng)
    alone = run(write_sheet(tmp_path / "healthy.csv", healthy), tmp_path / "alone")
    sheet = write_sheet(tmp_path / "all.csv", [*damaged[:100], *healthy, *damaged[100:]])
    first, second = run(sheet, tmp_path / "first"), run(sheet, tmp_path / "second")

    rows = {row.slide_id: row for row in first}
    assert len(rows) == PLACES + len(healthy)
    outcomes = [rows[path.stem].status for path in damaged]
    assert set(outcomes) <= {"ok", *Status}
    assert all(rows[path.stem].message for path in damaged if rows[path.stem].status != "ok")
    kinds = {
        kind: [status for status, path in zip(outcomes, damaged, strict=True) if path.stem.startswith(kind)]
        for kind in KINDS
    }
    lost = {kind: sum(status != "ok" for status in found) for kind, found in kinds.items()}
    assert min(lost["header"], lost["directory"], lost["cut"]) >= PLACES / 8 and lost["tiles"] >= 5, lost
    assert max(row.seconds for row in first) < 60, "no hang over its time-out"

    def told(rows):
        return [(row.slide_id, row.status, row.message, row.stage, row.tiles, row.fingerprint) for row in rows]

    assert told(first) == told(second)
    assert all(row.status == "ok" for row in alone)
    for row in alone:
        assert rows[row.slide_id].fingerprint == row.fingerprint
        store = f"features/{row.slide_id}.zarr"
        assert content(tmp_path / "first" / store) == content(tmp_path / "alone" / store)
    assert not [name for name in content(tmp_path / "first") if "/." in f"/{name}"], "no scratch is left"
    print({kind: {status: found.count(status) for status in sorted(set(found))} for kind, found in kinds.items()})
