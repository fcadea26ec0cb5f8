import re
import time

import pytest

from roformermil.features.profile import Profile

MORE_READERS = ".*: more CPU cores and encoder.readers would help"
CASES = [
    (9, 1, 20, 1, "Encoding limits the speed: .* not more readers"),
    (1, 9, 20, 2, "waits for tiles, mainly for reading" + MORE_READERS),
    (1, 9, 2, 20, "waits for tiles, mainly for resizing" + MORE_READERS),
]


def test_readers_that_wait_do_not_limit_the_speed():
    assert "the thread that passes them on" in Profile(readers=4, waiting=9, reading=12, whole=10, start=1).verdict()
    assert "mainly for reading" in Profile(readers=4, waiting=9, reading=30, whole=10, start=1).verdict()


@pytest.mark.parametrize(("encoding", "waiting", "reading", "resizing", "limit"), CASES)
def test_the_verdict_names_the_slowest_part_and_what_helps(encoding, waiting, reading, resizing, limit):
    profile = Profile(encoding=encoding, waiting=waiting, reading=reading, resizing=resizing)
    assert re.search(limit, profile.verdict())


def test_the_table_has_seconds_and_rates_per_part():
    profile = Profile(readers=4, tiles=100, reading=8, encoding=5, writing=1, whole=10)
    lines = profile.table().splitlines()
    assert "| reading (4 processes, each) | 2.00 | 50.0 |" in lines and "| encoding | 4.00 | 25.0 |" in lines
    assert "| waiting for tiles | 0.00 | 0.0 |" in lines and lines[-1] == f"100 tiles. {profile.verdict()}"


def test_timed_blocks_add_up():
    profile = Profile()
    for _ in range(2):
        with profile.timed("writing"):
            time.sleep(0.02)
    assert 0.04 <= profile.writing < 1
