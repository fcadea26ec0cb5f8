import time

import pytest

from roformermil.features.profile import Profile


@pytest.mark.parametrize(
    ("seconds", "limit"),
    [
        ({"encoding": 9, "waiting": 1, "reading": 20}, "Encoding limits the speed"),
        ({"encoding": 1, "waiting": 9, "reading": 20, "resizing": 2}, "waits for tiles, mainly for reading"),
        ({"encoding": 1, "waiting": 9, "reading": 2, "resizing": 20}, "waits for tiles, mainly for resizing"),
    ],
)
def test_the_verdict_names_the_slowest_part(seconds, limit):
    assert limit in Profile(**seconds).verdict()


def test_readers_are_advised_only_where_the_encoder_waits():
    assert "not more readers" in Profile(encoding=2, waiting=1).verdict()
    assert "more CPU cores and encoder.readers would help" in Profile(encoding=1, waiting=2).verdict()


def test_the_table_has_seconds_and_rates_per_part():
    profile = Profile(readers=4, tiles=100, reading=8, encoding=5, writing=1, whole=10)
    lines = profile.table().splitlines()
    assert "| reading (4 processes, each) | 2.00 | 50.0 |" in lines
    assert "| encoding | 4.00 | 25.0 |" in lines
    assert "| waiting for tiles | 0.00 | 0.0 |" in lines
    assert lines[-1] == f"100 tiles. {profile.verdict()}"


def test_timed_blocks_add_up():
    profile = Profile()
    for _ in range(2):
        with profile.timed("writing"):
            time.sleep(0.02)
    assert 0.04 <= profile.writing < 1
