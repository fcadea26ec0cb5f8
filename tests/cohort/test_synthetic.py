from dataclasses import replace

import numpy as np
import openslide
import pytest

from roformermil.cohort.slide_sheet import read_slide_sheet
from roformermil.cohort.slide_table import SlideRecord
from roformermil.cohort.synthetic import APART, BARE, CLASSES, COUNTS, MPP, SIDE, lay_cells, write_demo_slides
from roformermil.cohort.synthetic_cells import BORDER, CELL, KINDS, LYMPHOCYTES, STROMA, TUMOUR, CellPainter
from roformermil.config import Tiles, Tissue
from roformermil.slides.reader import SlideReader
from roformermil.slides.steps import segment_slide, tile_slide
from roformermil.slides.tile_table import read_tile_table
from roformermil.slides.tiles import fit_tile, read_tile


@pytest.fixture(scope="module")
def sheet(tmp_path_factory):
    """The slide sheet of three patients."""
    return write_demo_slides(tmp_path_factory.mktemp("slides"), slides=6, seed=7)


def test_slides_are_real_pyramids_with_their_own_scale(sheet):
    slides = read_slide_sheet(sheet, sheet.parent, list(CLASSES))
    assert [(slide.patient_id, slide.label) for slide in slides] == [
        (f"patient_0{k}", label) for k in range(3) for label in CLASSES
    ]
    for slide in slides:
        with SlideReader(slide.path) as reader:
            assert (reader.scale.mpp, reader.size, len(reader.downsamples)) == (MPP, (SIDE * CELL, SIDE * CELL), 3)
        with openslide.OpenSlide(slide.path) as plain:
            assert plain.properties["openslide.level[0].tile-width"] == "256"


def test_a_slide_depends_on_the_seed_and_its_number_and_is_written_once(sheet, tmp_path):
    written = {path: path.stat().st_mtime_ns for path in sheet.parent.glob("*.tif")}
    write_demo_slides(sheet.parent, slides=6, seed=7)
    assert written == {path: path.stat().st_mtime_ns for path in written}, "existing slides are kept"
    assert len({path.read_bytes() for path in written}) == 6
    write_demo_slides(tmp_path, slides=3, seed=7)
    again = sorted(tmp_path.glob("*.tif"))
    assert len(again) == 3 and all(path.read_bytes() == (sheet.parent / path.name).read_bytes() for path in again)
    write_demo_slides(tmp_path / "other", slides=2, seed=8)
    assert (tmp_path / "other/demo_00.tif").read_bytes() != again[0].read_bytes()


@pytest.mark.parametrize(
    "tiles",
    [
        Tiles(),
        *(
            pytest.param(tiles, marks=pytest.mark.slow)
            for tiles in (Tiles(tile_px=128, target_mpp=1.0), Tiles(tile_px=64, target_mpp=2.0))
        ),
    ],
    ids=str,
)
def test_a_patients_slides_have_the_same_tiles_at_other_places(sheet, tmp_path, tiles):
    """Tissue and tiles as the workflow finds them: in every slide as many, and pixel by pixel those of the other class."""
    found = [_read_tiles(slide, tmp_path, tiles) for slide in read_slide_sheet(sheet, sheet.parent, list(CLASSES))]
    assert {len(pixels) for pixels, _ in found} == {sum(COUNTS.values())}
    for (one, here), (two, there) in zip(found[::2], found[1::2], strict=True):
        assert sorted(tile.tobytes() for tile in one) == sorted(tile.tobytes() for tile in two)
        assert len({tile.tobytes() for tile in one}) == len(one) and set(here) != set(there)
    assert not {tile.tobytes() for tile in found[0][0]} & {tile.tobytes() for tile in found[2][0]}, "patients differ"


def _read_tiles(slide, folder, tiles):
    """The pixels of a slide's tiles, and their places on the grid."""
    record = SlideRecord(slide.slide_id, slide.path)
    record = replace(record, **segment_slide(record, folder, Tissue()))
    assert record.is_ok and not record.warnings
    assert not tile_slide(record, folder, folder, tiles)["warnings"]
    table = read_tile_table(folder / f"{slide.slide_id}.npz")
    with SlideReader(slide.path) as reader:
        pixels = [fit_tile(read_tile(reader, x, y, table.spec), table.spec) for x, y in table.coords.tolist()]
    return pixels, [tuple(place) for place in table.grid.tolist()]


def test_layouts_of_the_two_classes_differ_only_in_where_lymphocytes_lie():
    """In `inflamed` nearly all touch a tumour cell; in `excluded` other cells lie between."""
    touching = []
    for seed in range(30):
        inflamed, excluded = (lay_cells(np.random.default_rng(seed), label) for label in CLASSES)
        for layout in (inflamed, excluded):
            assert {kind: (layout == kind).sum() for kind in COUNTS} == COUNTS
            assert (layout[[0, -1]] == BARE).all() and (layout[:, [0, -1]] == BARE).all(), "glass around the tissue"
        for kind in (BARE, TUMOUR):
            assert np.array_equal(inflamed == kind, excluded == kind)
        assert _steps_to_tumour(excluded).min() >= APART
        touching.append((_steps_to_tumour(inflamed) == 1).mean())
    assert np.mean(touching) > 0.95


def _steps_to_tumour(layout):
    """From each cell of lymphocytes to the nearest tumour cell."""
    lymphocytes, tumour = (np.argwhere(layout == kind) for kind in (LYMPHOCYTES, TUMOUR))
    return np.abs(lymphocytes[:, None] - tumour).max(axis=2).min(axis=1)


def test_cells_fit_together_in_any_order_and_kinds_differ():
    rng = np.random.default_rng(2)
    painter = CellPainter(rng)
    cells = [[painter.draw(rng, kind) for _ in range(3)] for kind in range(len(KINDS))]
    outermost = np.ones((CELL, CELL), bool)
    outermost[BORDER // 2 : -BORDER // 2, BORDER // 2 : -BORDER // 2] = False
    for cell in (cell for kind in cells for cell in kind):
        assert np.array_equal(cell[outermost], painter.background[outermost])
    dark = [np.mean([(cell.max(axis=2) < 150).mean() for cell in kind]) for kind in cells]
    assert dark[LYMPHOCYTES] > 3 * dark[TUMOUR] > 6 * dark[STROMA], "nuclei cover more of their cells"
