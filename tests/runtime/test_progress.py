import logging
import re
import time

import pytest

from roformermil.runtime import progress


def test_without_a_terminal_the_log_says_how_much_is_left(monkeypatch, caplog):
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.05)
    with caplog.at_level(logging.INFO):
        for _ in progress.track(range(10), desc="embed", unit="tile"):
            time.sleep(0.02)
    *lines, last = caplog.messages
    form = r"embed: ([1-9] of 10 tiles, [\d.]+ tiles/s, [\d.]+ s left|10 tiles in .*)"
    assert lines and all(re.fullmatch(form, line) for line in lines), lines
    assert re.fullmatch(r"embed: 10 tiles in \d\.\d+ s", last)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((1200, 5000, 100.0, 12.3, "tile"), "1,200 of 5,000 tiles, 12 tiles/s, 5.1 min left"),
        ((3, 8, 90.0, 0.05, "slide"), "3 of 8 slides, 20 s per slide, 1.7 min left"),
        ((5000, 5000, 190.0, 12.3, "tile"), "5,000 tiles in 3.2 min"),
        ((1, 1, 4.0, None, "slide"), "1 slide in 4.0 s"),
        ((3, None, 2.0, None, "slide"), "3 slides, 1.5 slides/s"),
        ((0, 8, 0.0, None, "slide"), "0 of 8 slides"),
        ((2e6, 1e9, 10.0, 2e6, "B"), "2.0 MB of 1.0 GB, 2.0 MB/s, 8.3 min left"),
    ],
)
def test_amounts_speeds_and_times_have_units(arguments, expected):
    assert progress._state(*arguments) == expected


def test_progress_is_silent_where_it_is_switched_off(monkeypatch, caplog, capsys):
    monkeypatch.setattr(progress, "LOG_SECONDS", 0)
    with caplog.at_level(logging.INFO):
        assert list(progress.track(range(3), on=False)) == [0, 1, 2]
    assert not caplog.messages and capsys.readouterr() == ("", "")
