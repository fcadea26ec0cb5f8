from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def atlas(shared) -> list[Path]:
    """The real slides of the Pathology Atlas."""
    return sorted((shared / "slides/pathology_atlas").resolve().glob("*.svs"))
