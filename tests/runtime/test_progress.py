import logging
import re
import time

from roformermil.runtime import progress


def test_without_a_terminal_the_log_says_how_much_is_left(monkeypatch, caplog):
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.05)
    with caplog.at_level(logging.INFO):
        for _ in progress.track(range(10), desc="embed", unit="tile"):
            time.sleep(0.02)
    lines = [line for line in caplog.messages if re.fullmatch(r"embed: [1-9] of 10 tiles, .*tile.*, 00:0\d left", line)]
    assert lines, caplog.messages


def test_progress_is_silent_where_it_is_switched_off(monkeypatch, caplog, capsys):
    monkeypatch.setattr(progress, "LOG_SECONDS", 0)
    with caplog.at_level(logging.INFO):
        assert list(progress.track(range(3), on=False)) == [0, 1, 2]
    assert not caplog.messages and capsys.readouterr() == ("", "")
