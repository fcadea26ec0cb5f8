"""A laboratory whose model is packaged, and slides predicted with it; made once per process."""

import json
import shutil

import pytest

from roformermil.deployment.predict import predict
from tests.deployment.lab import make_lab


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """As `make_lab` makes it."""
    folder = tmp_path_factory.mktemp("lab")
    make_lab(folder)
    return folder


@pytest.fixture(scope="session")
def predicted(lab):
    (lab / "slides/broken.svs").write_text("not a slide")
    slides = [lab / f"slides/s{k}.tif" for k in (6, 7, 8)] + [lab / "slides/broken.svs"]
    return predict(slides, lab / "model", lab / "out", progress=False)


@pytest.fixture
def change_card(lab, tmp_path):
    """Copies the packaged model with these keys of its model.json changed, and returns the copy."""

    def change(**values):
        model = shutil.copytree(lab / "model", tmp_path / "model", dirs_exist_ok=True)
        card = json.loads((model / "model.json").read_text())
        (model / "model.json").write_text(json.dumps(card | values))
        return model

    return change
