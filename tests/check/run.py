"""Configurations of the slides of `folder`, and what the checks find in them."""

from roformermil.check import check_config
from roformermil.config import Config
from roformermil.config.base import read_settings


def settings(folder, **changes):
    """A configuration of these slides that allows one of the seven to be lost."""
    dataset = {"slides": str(folder / "sheet.csv"), "root": str(folder), "classes": ["a", "b"]}
    defaults = {"datasets": {"set": dataset}, "folds": {"count": 3}, "encoder": {"weights": "random"}}
    return defaults | {"results": str(folder / "results"), "max_failed_fraction": 1 / 7} | changes


def configure(folder, **changes):
    return read_settings(Config, settings(folder, **changes))


def edit(folder, *changes):
    """Replace texts of the slide sheet, each given with what replaces it."""
    text = (folder / "sheet.csv").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "sheet.csv").write_text(text)


def problems(folder, level="error", **changes):
    """The messages of this level that the checks give, without the places of slide sheets."""
    found = check_config(configure(folder, **changes), progress=False).problems
    messages = [str(problem) for problem in found if problem.level == level]
    return [message for message in messages if ": slide sheet /" not in message]
