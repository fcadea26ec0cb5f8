from pathlib import Path

import pytest

from tests.viewer.runs import make_run


@pytest.fixture(scope="session")
def run(tmp_path_factory, slide) -> Path:
    """The results of a run with two slides that can be opened."""
    return make_run(tmp_path_factory.mktemp("run"), [slide, slide])
