import errno
import re
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import openslide
import pytest
import torch

from roformermil.cohort.slide_table import SlideRecord
from roformermil.config import Encoder, Tiles, Tissue
from roformermil.errors import SlideError, Status, TerminatedError
from roformermil.features.embed import BATCHES_BEGUN, Batch, Embedder
from roformermil.features.encoders import load_trunk
from roformermil.features.profile import Profile
from roformermil.features.store import read_store
from roformermil.features.tile_stream import CHUNK, SlideWork, TileSpan, TileStream, batch_spans, stack_tiles
from roformermil.runtime.termination import _requested
from roformermil.slides import steps
from roformermil.slides.reader import SlideReader
from roformermil.slides.scratch import Copy, copy_slide
from roformermil.slides.tile_table import read_tile_table
from roformermil.slides.tiles import TileSpec
from tests.features.reference_resnet import reference_features

RANDOM = Encoder(weights="random", batch_size=8, compile="never")
SMALL = Tiles(tile_px=64, target_mpp=2.0)  # for speed


def tile(path, folder, tiles=None, tissue=None, slide_id="one"):
    """The slide's record after `segment` and `tile`, whose results are in the folder."""
    record = SlideRecord(slide_id, path)
    record = replace(record, **steps.segment_slide(record, folder, tissue or Tissue()))
    return replace(record, **steps.tile_slide(record, folder, folder, tiles or Tiles()))


def embed(records, folder, encoder=RANDOM):
    return Embedder(encoder, timeout=60, progress=False).embed(records, folder, folder)


def embed_one(path, folder, encoder=RANDOM, **settings):
    """The store after all three stages."""
    (record,) = embed([tile(path, folder, **settings)], folder, encoder)
    assert record.is_ok
    return read_store(folder / "one.zarr")


def wait_until(holds):
    end = time.monotonic() + 30
    while not holds() and time.monotonic() < end:
        time.sleep(0.01)


def assert_equals_plain_loop(slide, store, encoder, side):
    """OpenSlide, resize, the reference network: one tile at a time."""
    trunk = load_trunk(encoder)
    with openslide.OpenSlide(slide) as plain_slide:
        for (x, y), features in zip(store.coords.tolist(), store.features, strict=True):
            pixels = np.asarray(plain_slide.read_region((x, y), 0, (side, side)).convert("RGB"))
            resized = cv2.resize(pixels, (256, 256), interpolation=cv2.INTER_AREA)
            expected = reference_features(trunk, torch.from_numpy(resized[None])).numpy()[0]
            assert np.allclose(features.astype(np.float32), expected, rtol=2e-3, atol=1e-3)


def test_features_equal_those_of_a_plain_loop(slide, tmp_path):
    store = embed_one(slide, tmp_path, tiles=Tiles(target_mpp=0.6))
    assert store.attributes["base_px"] == 307 and (store.coords == store.grid * 307).all()
    keys = {"slide_id", "mpp", "tile_px", "target_mpp", "encoder", "weights", "content", "version", "fingerprint"}
    assert keys <= set(store.attributes)
    assert_equals_plain_loop(slide, store, RANDOM, 307)


def test_a_current_store_is_kept_and_an_outdated_one_replaced(slide, tmp_path):
    tiles, path = Tiles(tile_px=128, target_mpp=2), tmp_path / "one.zarr"
    first = embed_one(slide, tmp_path, tiles=tiles)
    stamp = path.stat().st_mtime_ns
    (record,) = embed([tile(slide, tmp_path, tiles=tiles)], tmp_path)
    assert (record.tiles, record.values) == first.features.shape and record.fingerprint == first.attributes[
        "fingerprint"
    ]
    embed_one(slide, tmp_path, tiles=tiles, tissue=Tissue(min_hole=16385))
    assert path.stat().st_mtime_ns == stamp, "other settings, the same tiles: nothing to encode"
    store = embed_one(slide, tmp_path, Encoder(weights="random", seed=1, compile="never"), tiles=tiles)
    assert path.stat().st_mtime_ns > stamp and store.attributes["weights"] == "random:1"


def test_tiles_stream_in_order(slide):
    coords = np.array([(x, y) for y in range(0, 1100, 100) for x in range(0, 1400, 100)], np.int32)
    spec = TileSpec(base_px=64, level=0, read_px=64, tile_px=64)
    with closing(TileStream(SlideRecord("one", slide), coords, spec, readers=3, timeout=60)) as stream:
        chunks = [chunk.tiles for chunk in stream]
    assert [len(c) for c in chunks] == [CHUNK] * (len(coords) // CHUNK) + [len(coords) % CHUNK]
    with SlideReader(slide) as reader:
        assert np.array_equal(np.concatenate(chunks), [reader.read(x, y, 64, 64) for x, y in coords.tolist()])


def test_batches_have_one_size_across_slides_and_black_tiles_fill_the_last():
    def spans():
        number = 1
        for slide, first, length in (("a", 0, 3), ("a", 3, 9), ("b", 0, 1), ("c", 0, 2), ("c", 2, 2)):
            tiles = np.arange(number, number + length, dtype=np.uint8)
            yield TileSpan(slide, first, np.broadcast_to(tiles[:, None, None, None], (length, 2, 2, 3)))
            number += length

    batches = list(batch_spans(spans(), 5))
    positions = [[f"{span.slide} {span.first}+{len(span.tiles)}" for span in batch] for batch in batches]
    assert positions == [["a 0+3", "a 3+2"], ["a 5+5"], ["a 10+2", "b 0+1", "c 0+2"], ["c 2+2"]]
    stacked = np.full((20, 2, 2, 3), 255, np.uint8)
    for k, batch in enumerate(batches):
        stack_tiles(batch, stacked[5 * k : 5 * k + 5])
    assert stacked[:, 0, 0, 0].tolist() == [*range(1, 18), 0, 0, 0]


def test_further_batches_begin_before_features_are_waited_for():
    log = []

    class Encoder:
        def prepare(self, tile_px):
            log.append(f"prepare {tile_px}")

        def start(self, tiles):
            number = int(tiles[0, 0, 0, 0])
            log.append(f"begin {number}")
            return lambda: log.append(f"wait {number}")

    embedder = object.__new__(Embedder)
    embedder.encoder, embedder.profile, embedder._is_prepared = Encoder(), Profile(), False
    numbers = range(BATCHES_BEGUN + 2)
    batches = [Batch([], torch.full((1, 2, 2, 3), k, dtype=torch.uint8)) for k in numbers]
    assert [batch for batch, _ in embedder._encode(iter(batches))] == batches
    begun = [f"begin {k}" for k in numbers]
    waits = [f"wait {k}" for k in numbers]
    assert log == ["prepare 2", *begun[:-1], waits[0], begun[-1], *waits[1:]]


@pytest.mark.slow
def test_the_profile_counts_tiles_and_seconds(slide, tmp_path):
    embedder = Embedder(RANDOM, timeout=60, progress=False)
    (record,) = embedder.embed([tile(slide, tmp_path)], tmp_path, tmp_path)
    profile = embedder.profile
    assert profile.tiles == record.tiles == len(read_store(tmp_path / "one.zarr").grid)
    assert min(profile.reading, profile.start) > 0 and 0 < profile.writing < profile.encoding < profile.whole
    assert 0 < record.seconds < profile.whole + 60


def test_slides_that_fail_are_named_and_change_no_other_features(slide, broken, tmp_path, monkeypatch):
    """The damaged slide's directory and coarse levels are intact: only `embed` can tell."""
    monkeypatch.setattr(steps, "OUTLINE_SIDE", 300)  # the outline is drawn from the coarsest level
    own = embed_one(slide, tmp_path / "own")
    paths = {name: tmp_path / f"{name}.tif" for name in ("first", "damaged", "changed", "removed", "last")}
    for name, path in paths.items():
        path.write_bytes((broken / "damaged.tif" if name == "damaged" else slide).read_bytes())
    records = [tile(path, tmp_path, slide_id=name) for name, path in paths.items()]
    paths["changed"].write_bytes(slide.read_bytes() + b"more")
    paths["removed"].unlink()
    earlier = SlideRecord("earlier", slide, status=Status.EMPTY, message="no tissue", stage="segment")
    results = embed([earlier, replace(records[0], slide_id="untiled"), *records], tmp_path)
    failed = {record.slide_id: record for record in results if not record.is_ok}
    assert failed.pop("earlier") == results[0] == earlier
    expected = {
        "untiled": ("unreadable", r"untiled\.npz.*--forcerun tile"),
        "damaged": ("read_failed", r"damaged\.tif: pixels at .* cannot be read"),
        "changed": ("changed", ""),
        "removed": ("missing", r"removed\.tif"),
    }
    assert failed.keys() == expected.keys() and {record.stage for record in failed.values()} == {"embed"}
    for name, (status, message) in expected.items():
        assert failed[name].status == status and re.search(message, failed[name].message)
    assert {path.stem for path in tmp_path.glob("*.zarr")} == {"first", "last"}
    for name in ("first", "last"):
        assert np.array_equal(read_store(tmp_path / f"{name}.zarr").features, own.features)


@pytest.mark.shared
def test_cmu_1_small_region(shared, tmp_path):
    """All of it taken for tissue: 8 x 11 tiles of 257 px (see test_tiles), features equal to the plain loop's."""
    slide = shared / "slides/CMU-1-Small-Region.svs"
    encoder = Encoder(weights=str(shared / "weights/resnet50_msra_caffe_conv1-layer3_tvlayout.pth"))
    store = embed_one(
        slide, tmp_path, encoder, tiles=Tiles(min_tissue=0), tissue=Tissue(method="hsv", threshold=0, close=64)
    )
    assert store.grid.tolist() == [[x, y] for y in range(11) for x in range(8)]
    assert_equals_plain_loop(slide, store, encoder, 257)
    assert (store.coords == store.grid * 257).all() and read_tile_table(tmp_path / "one.npz").tissue.min() > 0.9


def test_a_slide_that_needs_more_memory_than_its_part_is_encoded_once_more_alone_by_one_reader(monkeypatch):
    records = [SlideRecord(name, Path(f"{name}.svs"), tiles=1) for name in "abc"]
    embedder, calls = object.__new__(Embedder), []
    embedder.readers = 4

    def embed(records, tile_tables, out):
        calls.append(([record.slide_id for record in records], embedder.readers))
        lacks = embedder.readers > 1
        return [
            replace(r, status="out_of_memory", stage="embed") if lacks and r.slide_id != "b" else r for r in records
        ]

    monkeypatch.setattr(embedder, "_embed", embed)
    assert embedder.embed(records, Path(), Path()) == records
    assert calls == [(["a", "b", "c"], 4), (["a"], 1), (["c"], 1)] and embedder.readers == 4


@pytest.mark.slow
def test_slides_are_read_from_scratch_and_the_next_is_copied_while_one_is_encoded(slide, tmp_path, monkeypatch):
    """On a disk that takes a second per slide."""
    (tmp_path / "fast").mkdir()
    events, read = [], []

    def copy_slowly(path, scratch, name, *arguments):
        events.append(f"copy {name}")
        time.sleep(1)
        return copy_slide(path, scratch, name, *arguments)

    class Stream(TileStream):
        def __init__(self, record, *arguments):
            read.append(record.path)
            super().__init__(record, *arguments)

    def write(embedder, slide, out, written=Embedder._write):
        events.append(f"write {slide.record.slide_id}")
        return written(embedder, slide, out)

    monkeypatch.setattr("roformermil.slides.scratch.copy_slide", copy_slowly)
    monkeypatch.setattr("roformermil.features.embed.TileStream", Stream)
    monkeypatch.setattr(Embedder, "_write", write)
    plain, *records = [tile(slide, tmp_path, SMALL, slide_id=name) for name in ("plain", *"abc")]
    embedder = Embedder(RANDOM, 60, progress=False)
    (expected,) = embedder.embed([plain], tmp_path, tmp_path)
    read.clear()
    events.clear()
    embedder.scratch = tmp_path / "fast"
    results = embedder.embed(records, tmp_path, tmp_path)
    for name, result in zip("abc", results, strict=True):
        same = {"slide_id": name, "seconds": 0}
        assert replace(result, **same) == replace(expected, **same, fingerprint=result.fingerprint)
        assert (read_store(tmp_path / f"{name}.zarr").features == read_store(tmp_path / "plain.zarr").features).all()
    assert all(tmp_path / "fast" in path.parents for path in read) and len(read) == 3
    assert events.index("copy b") < events.index("write a") and events.index("copy c") < events.index("write b")
    assert list((tmp_path / "fast").iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("cause", ["SIGTERM", "full disk"])
def test_no_copy_thread_or_reader_is_left_where_the_work_ends_early(slide, tmp_path, monkeypatch, cause):
    """All copies that there may be at once exist by then: two slides are open, one waits, one is just copied."""
    fast, most = tmp_path / "fast", 4
    fast.mkdir()
    records = [tile(slide, tmp_path, SMALL, slide_id=name) for name in "abcdef"]
    open_streams, copies, threads = set(), [], threading.active_count()

    class Stream(TileStream):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            open_streams.add(self)

        def __iter__(self):
            if not copies:
                wait_until(lambda: len(list(fast.iterdir())) >= most)
                time.sleep(0.5)
                copies.append(len(list(fast.iterdir())))
            if cause == "SIGTERM":
                _requested.set()
            return super().__iter__()

        def close(self):
            super().close()
            open_streams.discard(self)

    def write(embedder, slide, out, written=Embedder._write):
        if cause == "full disk":
            raise OSError(errno.ENOSPC, "No space left on device")
        return written(embedder, slide, out)

    monkeypatch.setattr("roformermil.features.embed.TileStream", Stream)
    monkeypatch.setattr(Embedder, "_write", write)
    embedder = Embedder(RANDOM, 60, progress=False, scratch=fast)
    try:
        with pytest.raises(TerminatedError if cause == "SIGTERM" else OSError):
            embedder.embed(records, tmp_path, tmp_path)
    finally:
        _requested.clear()
    assert copies[0] == most
    assert list(fast.iterdir()) == [] and not open_streams and threading.active_count() == threads
    assert len(list(tmp_path.glob("*.zarr"))) == (cause == "SIGTERM")


def test_after_sigterm_during_the_last_slide_the_work_is_complete(slide, tmp_path, monkeypatch):
    def write(embedder, slide, out, written=Embedder._write):
        _requested.set()
        return written(embedder, slide, out)

    monkeypatch.setattr(Embedder, "_write", write)
    try:
        (record,) = embed([tile(slide, tmp_path, SMALL)], tmp_path)
        assert record.is_ok and record.fingerprint
    finally:
        _requested.clear()


def test_an_error_names_the_slide_not_its_copy():
    copy = Copy(Path("/fast/.one.host-1/one.svs"))
    work = SlideWork(SlideRecord("one", Path("/slow/one.svs")), None, {}, None, None, copy)
    record = work.failed_record(SlideError(Status.READ_FAILED, f"{copy.path}: cannot be read", "copy it again"))
    assert record.message == "/slow/one.svs: cannot be read; copy it again"
