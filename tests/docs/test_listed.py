"""docs/slides.md lists every status of a slide and every encoder, and no others."""

import re

from roformermil.config.encoder_specs import SPECS
from roformermil.errors import Status
from tests import ROOT


def first_column(heading: str) -> set[str]:
    """Names in the first column of the table under a heading of docs/slides.md."""
    section = (ROOT / "docs/slides.md").read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("|")]
    return set(re.findall("`(.+?)`", " ".join(cells)))


def test_every_status_and_every_encoder_is_listed():
    assert first_column("Outcomes") - {"status"} == set(Status) - {Status.OK}
    assert first_column("Encoders") - {"encoder.name"} == {*SPECS, "timm:NAME", "imported"}
