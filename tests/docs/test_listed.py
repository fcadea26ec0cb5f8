"""What the documentation lists is what there is."""

from roformermil.config.encoder_specs import SPECS
from roformermil.errors import Status
from tests.conftest import ROOT

TEXT = (ROOT / "docs/slides.md").read_text()
OF_REQUESTS = {
    "config",
    "sheet",
    "folds",
    "leak",
    "model",
    "weights",
    "store",
    "bag",
    "output",
    "download",
    "too_many_failed",
}


def test_every_outcome_of_a_slide_is_explained():
    table = TEXT.split("## Outcomes")[1].split("\n## ")[0]
    assert {reason for reason in Status if f"`{reason}`" in table} == set(Status) - OF_REQUESTS


def test_every_encoder_is_listed():
    table = TEXT.split("## Encoders")[1].split("\n## ")[0]
    assert all(f"`{name}`" in table for name in SPECS)
