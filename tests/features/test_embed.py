from contextlib import closing

import cv2
import numpy as np
import openslide
import pytest
import torch

from roformermil.cohort.slide_table import SlideRecord
from roformermil.config import Encoder, Tiles, Tissue
from roformermil.features.embed import Embedder
from roformermil.features.encoders import load_trunk
from roformermil.features.store import read_store
from roformermil.features.tile_stream import CHUNK, TileStream
from roformermil.slides import steps
from roformermil.slides.reader import SlideReader
from roformermil.slides.steps import read_tiles, segment_slide, tile_slide
from roformermil.slides.tiles import TileSpec
from tests.features.test_encoders import plain

RANDOM = Encoder(weights="random", batch_size=8, compile="never")


@pytest.fixture
def damaged(broken, monkeypatch):
    """A slide whose finer levels are damaged, and an outline that does not need them."""
    monkeypatch.setattr(steps, "VIEW", 300)
    return broken / "damaged.tif"


def run(slide, folder, encoder=RANDOM, tiles=None, tissue=None):
    """All three stages on one slide; returns its store."""
    tiles, tissue = tiles or Tiles(), tissue or Tissue()
    row = SlideRecord("one", str(slide))
    facts = segment_slide(row, folder, tissue)
    tile_slide(row, folder, folder, tiles)
    row = SlideRecord("one", str(slide), mpp=facts["mpp"])
    (row,) = Embedder(encoder, progress=False).embed([row], folder, folder)
    return read_store(folder / "one.zarr") if row.status == "ok" else row


def assert_equals_plain_loop(slide, stored, encoder, level, side):
    """OpenSlide, resize, the trunk as torchvision has it: one tile at a time."""
    trunk = load_trunk(encoder)
    with openslide.OpenSlide(slide) as plain_slide:
        for (x, y), features in zip(stored.coords.tolist(), stored.features, strict=True):
            pixels = np.asarray(plain_slide.read_region((x, y), level, (side, side)).convert("RGB"))
            tile = cv2.resize(pixels, (256, 256), interpolation=cv2.INTER_AREA)
            expected = plain(trunk, torch.from_numpy(tile[None])).numpy()[0]
            assert np.allclose(features.astype(np.float32), expected, rtol=2e-3, atol=1e-3)


def test_features_are_the_plain_loops(slide, tmp_path):
    stored = run(slide, tmp_path, tiles=Tiles(mpp=0.6))
    assert stored.attributes["base_px"] == 307
    assert (stored.coords == stored.grid * 307).all()
    assert {"slide_id", "mpp", "tile_px", "target_mpp", "encoder", "weights", "version", "fingerprint"} <= set(
        stored.attributes
    )
    assert_equals_plain_loop(slide, stored, RANDOM, 0, 307)


def test_a_current_store_stays_and_a_stale_one_goes(slide, tmp_path):
    tiles = Tiles(tile_px=128, target_mpp=2)
    run(slide, tmp_path, tiles=tiles)
    stamp = (tmp_path / "one.zarr").stat().st_mtime_ns
    run(slide, tmp_path, tiles=tiles)
    assert (tmp_path / "one.zarr").stat().st_mtime_ns == stamp
    run(slide, tmp_path, tiles=tiles, tissue=Tissue(min_hole=16385))
    assert (tmp_path / "one.zarr").stat().st_mtime_ns == stamp, "other settings, the same tiles: nothing to encode"
    stored = run(slide, tmp_path, Encoder(weights="random", seed=1, compile="never"), tiles)
    assert (tmp_path / "one.zarr").stat().st_mtime_ns > stamp
    assert stored.attributes["weights"] == "random:1"


def test_tiles_stream_in_order(slide):
    coords = np.array([(x, y) for y in range(0, 1100, 100) for x in range(0, 1400, 100)], np.int32)
    spec = TileSpec(base_px=64, level=0, read_px=64, tile_px=64)
    with closing(TileStream(SlideRecord("one", str(slide)), coords, spec, readers=3, timeout=60)) as stream:
        chunks = [chunk.tiles for chunk in stream]
    assert [len(c) for c in chunks] == [CHUNK] * (len(coords) // CHUNK) + [len(coords) % CHUNK]
    with SlideReader(slide) as reader:
        expected = np.stack([reader.read(x, y, 64, 64) for x, y in coords.tolist()])
    assert np.array_equal(np.concatenate(chunks), expected)


@pytest.mark.slow
def test_batches_run_across_slides_and_change_nothing(slide, damaged, tmp_path):
    """Three slides in one call, the middle one's pixels gone: the others are what they are alone, byte for byte."""
    alone = run(slide, tmp_path / "alone")
    rows = []
    for name in ("a", "b", "c"):
        copy = tmp_path / f"{name}.tif"
        copy.write_bytes((damaged if name == "b" else slide).read_bytes())
        rows.append(SlideRecord(name, str(copy), mpp=0.5))
        segment_slide(rows[-1], tmp_path, Tissue())
        tile_slide(rows[-1], tmp_path, tmp_path, Tiles())
    a, b, c = Embedder(RANDOM, progress=False).embed(rows, tmp_path, tmp_path)
    assert (a.status, b.status, c.status) == ("ok", "read_failed", "ok")
    assert not (tmp_path / "b.zarr").exists()
    for name in ("a", "c"):
        stored = read_store(tmp_path / f"{name}.zarr")
        assert np.array_equal(stored.features, alone.features)


def test_a_slide_that_becomes_another_is_named(slide, tmp_path):
    copy = tmp_path / "copy.tif"
    copy.write_bytes(slide.read_bytes())
    row = SlideRecord("one", str(copy), mpp=0.5)
    segment_slide(row, tmp_path, Tissue())
    tile_slide(row, tmp_path, tmp_path, Tiles())
    copy.write_bytes(slide.read_bytes() + b"more")
    (found,) = Embedder(RANDOM, progress=False).embed([row], tmp_path, tmp_path)
    assert (found.status, found.stage) == ("changed", "embed")


def test_the_profile_says_what_bounds_the_run(slide, tmp_path):
    row = SlideRecord("one", str(slide), mpp=segment_slide(SlideRecord("one", str(slide)), tmp_path, Tissue())["mpp"])
    tile_slide(row, tmp_path, tmp_path, Tiles())
    embedder = Embedder(RANDOM, progress=False)
    (row,) = embedder.embed([row], tmp_path, tmp_path)
    profile = embedder.profile
    assert profile.tiles == row.tiles
    assert profile.reading > 0 and 0 < profile.encoding < profile.whole
    assert "Encoding bounds the run" in profile.table()


def test_pixels_that_are_gone_are_found_when_they_are_read(damaged, tmp_path):
    """The directory and the coarse levels are whole: only `embed` can tell."""
    row = run(damaged, tmp_path)
    assert (row.status, row.stage) == ("read_failed", "embed")
    assert "damaged.tif: reading at" in row.message
    assert not (tmp_path / "one.zarr").exists()


def test_a_slide_gone_since_it_was_tiled_is_named(slide, tmp_path):
    copy = tmp_path / "copy.tif"
    copy.write_bytes(slide.read_bytes())
    row = SlideRecord("one", str(copy))
    segment_slide(row, tmp_path, Tissue())
    tile_slide(row, tmp_path, tmp_path, Tiles())
    copy.unlink()
    (row,) = Embedder(RANDOM, progress=False).embed([row], tmp_path, tmp_path)
    assert row.status == "missing"
    assert "copy.tif" in row.message


@pytest.mark.shared
def test_cmu_1_small_region(shared, tmp_path):
    """All of it taken for tissue: 8 x 11 tiles of 257 px (see test_tiles), features as the plain loop's."""
    slide = shared / "slides/CMU-1-Small-Region.svs"
    encoder = Encoder(weights=str(shared / "weights/resnet50_msra_caffe_conv1-layer3_tvlayout.pth"))
    stored = run(slide, tmp_path, encoder, Tiles(min_tissue=0), Tissue(threshold=0, close=64))
    assert stored.grid.tolist() == [[x, y] for y in range(11) for x in range(8)]
    assert (stored.coords == stored.grid * 257).all()
    assert_equals_plain_loop(slide, stored, encoder, 0, 257)
    table = read_tiles(tmp_path / "one.npz")
    assert table.tissue.min() > 0.9
