import shutil

import numpy as np

from roformermil.check.inspection import inspect_slides
from roformermil.cohort.slide_sheet import read_slide_sheet
from roformermil.cohort.slide_table import records_from_sheet
from roformermil.cohort.synthetic import write_pyramid
from roformermil.features.tile_stream import read_chunks
from tests.check.run import configure, edit


def inspect(folder, **changes):
    records = records_from_sheet(read_slide_sheet(folder / "sheet.csv", folder))
    return {s.record.slide_id: s for s in inspect_slides(configure(folder, **changes), records, progress=False)}


def test_all_that_is_known_of_a_slide_is_there_even_if_it_fails_later(folder):
    edit(folder, ("label,path", "label,path,mpp"), ("s0.tif", "s0.tif,1.0"), ("s6.tif", "s6.tif,"))
    edit(folder, *((f"s{k}.tif", f"s{k}.tif,") for k in range(1, 6)))
    write_pyramid(folder / "s1.tif", np.full((1024, 1024, 3), 245, np.uint8))
    slides = inspect(folder)
    coarse, blank, good, text = (slides[name].record for name in ("s0", "s1", "s2", "s6"))
    assert coarse.status == "too_coarse" and (coarse.mpp, coarse.mpp_source) == (1.0, "sheet")
    assert coarse.width == 1100 and coarse.tissue_mm2 > 0.1 and coarse.tiles is None
    assert blank.status == "empty" and (blank.width, blank.mpp_source, blank.tissue_mm2) == (1024, "tiff", 0)
    assert good.is_ok and good.tiles > 3 and good.seconds > 0
    assert text.status == "unreadable" and (text.width, slides["s6"].format) == (None, "")
    assert {slides[f"s{k}"].format for k in range(6)} == {"generic-tiff"}


def test_a_slide_without_a_resolution_still_has_a_format_and_a_size(shared, folder):
    shutil.copy(shared / "cases/slides/no_mpp.tif", folder / "s0.tif")
    slide = inspect(folder)["s0"]
    assert (slide.record.status, slide.format, slide.record.width) == ("no_mpp", "generic-tiff", 300)


def test_the_sample_is_of_tiles_that_embed_would_read(folder):
    slide = inspect(folder)["s2"]
    spec, coords = slide.sample
    assert 0 < len(coords) <= slide.record.tiles and (coords % spec.base_px == 0).all()
    (chunk,) = read_chunks(slide.record, [coords], spec)
    assert chunk.tiles.shape == (len(coords), 256, 256, 3) and chunk.tiles.mean() < 235, "tissue, not glass"
