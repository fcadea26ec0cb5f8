"""Fixtures for all tests: small files to read, feature stores, and the real slides of ../shared."""

import signal
from pathlib import Path

import numpy as np
import pytest
import tifffile

from roformermil.cohort.synthetic import write_pyramid
from roformermil.features.store import write_store
from tests import ROOT
from tests.tissue_drawing import draw_tissue

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in background jobs, whose programs would ignore Ctrl-C too
    signal.signal(signal.SIGINT, signal.default_int_handler)


FIRST = ("docs", "workflow", "faults")  # folders whose files take longest: at the end, one worker would run them alone


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: order.get(item.path.parent.name, len(FIRST)))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real slides, weights and numbers; tests that use it are skipped where it is absent."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}")
    return folder


@pytest.fixture(scope="session")
def atlas(shared) -> list[Path]:
    """The real slides of the Pathology Atlas."""
    return sorted((shared / "slides/pathology_atlas").resolve().glob("*.svs"))


@pytest.fixture(scope="session")
def slide(tmp_path_factory) -> Path:
    """A demo slide of 1500 x 1200 px, 0.5 um/px, three levels."""
    path = tmp_path_factory.mktemp("slides") / "slide.tif"
    write_pyramid(path, draw_tissue(np.random.default_rng(5), 1500, 1200))
    return path


@pytest.fixture(scope="session")
def broken(tmp_path_factory, slide) -> Path:
    """A folder of files that are not usable slides: cut.svs, empty.svs, text.svs, blank.tif, damaged.tif.
    damaged.tif opens and its tissue is found on its coarsest level; half the pixels of the finer two are gone."""
    folder = tmp_path_factory.mktemp("broken")
    whole = slide.read_bytes()
    (folder / "cut.svs").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.svs").touch()
    (folder / "text.svs").write_text("not a slide\n")
    write_pyramid(folder / "blank.tif", np.full((1024, 1024, 3), 245, np.uint8))
    with tifffile.TiffFile(slide) as tiff:
        levels = [list(zip(page.dataoffsets, page.databytecounts, strict=True)) for page in tiff.pages[:2]]
    damaged = bytearray(whole)
    for tiles in levels:
        for start, count in tiles[len(tiles) // 2 :]:
            damaged[start : start + count] = bytes(count)
    (folder / "damaged.tif").write_bytes(damaged)
    return folder


@pytest.fixture
def make_stores(tmp_path):
    """Writes feature stores of random bags: make_stores({slide_id: tiles}, dim=..., shift={slide_id: ...})."""

    def make(tiles: dict[str, int], dim: int = 16, shift: dict[str, float] | None = None) -> Path:
        for number, (slide_id, count) in enumerate(tiles.items()):
            rng = np.random.default_rng(number)
            features = rng.normal((shift or {}).get(slide_id, 0.0), 1, (count, dim))
            grid = np.stack([np.arange(count) % 7, np.arange(count) // 7], axis=1)
            write_store(tmp_path / f"{slide_id}.zarr", features, grid * 256, grid, {"slide_id": slide_id})
        return tmp_path

    return make
