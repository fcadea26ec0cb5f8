from dataclasses import replace

import pytest

from roformermil.cohort.slide_table import SlideRecord, write_slides_csv
from roformermil.config import Encoder, Training
from roformermil.project.job_resources import (
    LONGEST,
    START,
    encoding_memory,
    encoding_minutes,
    training_memory,
    training_minutes,
)

SLIDE = SlideRecord("one", "one.svs", tiles=10_000, values=1024)


@pytest.fixture
def write_table(tmp_path):
    """write_table(slides): a slide table of so many slides of 10,000 tiles, and one that is lost."""

    def write(slides):
        records = [replace(SLIDE, slide_id=f"s{k}") for k in range(slides)]
        write_slides_csv(path := tmp_path / f"{slides}.csv", [*records, replace(SLIDE, status="empty")])
        return path

    return write


def test_encoding_asks_for_time_by_device_and_tiles(write_table, tmp_path):
    on_gpu, on_cpu = (encoding_minutes(Encoder(), write_table(25), 25, 8, on_gpu=gpu) for gpu in (True, False))
    assert START < on_gpu < 60 < on_cpu < LONGEST
    assert encoding_minutes(Encoder(), write_table(1), 25, 8, on_gpu=True) < START + 5
    assert encoding_minutes(Encoder(), tmp_path / "later.csv", 25, 8, on_gpu=True) > on_gpu, (
        "typical slides until tiles are known"
    )
    assert encoding_minutes(Encoder(), tmp_path / "later.csv", 10_000, 8, on_gpu=False) == LONGEST


def test_a_larger_network_takes_longer_on_a_cpu(write_table):
    small, large = (
        encoding_minutes(Encoder(name=name), write_table(1), 1, 8, on_gpu=False) for name in ("resnet50", "uni")
    )
    assert large - START == pytest.approx(16 * (small - START), rel=0.1)


def test_a_larger_network_and_more_readers_take_more_memory():
    small = encoding_memory(Encoder(), threads=8)
    assert small == 4000 + 8 * 500 and encoding_memory(Encoder(name="uni"), threads=8) == small + 8000


def test_training_asks_for_what_it_caches_and_for_its_largest_step(write_table, tmp_path):
    few, many = (training_memory(write_table(slides), Training(), on_gpu=False) for slides in (4, 40))
    assert many - few == pytest.approx(36 * 10_000 * 1024 * 2 / 1e6, rel=0.01), "of features"
    assert training_memory(write_table(1000), Training(cache_gb=2), on_gpu=False) == 1500 + 2000 + 4000
    assert training_memory(write_table(1000), Training(cache_gb=2, max_tiles=1000), on_gpu=False) == 1500 + 2000 + 400
    assert training_memory(tmp_path / "later.csv", Training(), on_gpu=False) == 1500
    assert training_minutes(write_table(1000), Training(), 1, on_gpu=False) == LONGEST
    assert training_minutes(write_table(1000), Training(), 1, on_gpu=True) < LONGEST


def test_training_on_a_gpu_asks_for_the_batches_that_are_read_ahead(write_table):
    batch = 2 * 2 * 10_000 * 1024 / 1e6  # of two slides
    few, many = (Training(cache_gb=0, batch_size=2, readers=readers) for readers in (1, 8))
    assert training_memory(write_table(40), few, on_gpu=True) == round(1500 + 3000 + 7 * batch)
    assert training_memory(write_table(40), many, on_gpu=True) == round(1500 + 3000 + 11 * batch)
