"""One whole run that several files of tests look at."""

import shutil
from pathlib import Path

import pytest
import yaml

from roformermil.demo import CLASSES, write_demo
from tests.conftest import ROOT
from tests.workflow.running import snakemake

BROKEN = {"cut": "unreadable", "empty": "empty_file", "text": "unreadable", "blank": "empty", "damaged": "read_failed"}


@pytest.fixture(scope="session")
def demo(tmp_path_factory, broken) -> Path:
    """A folder with the demo's 24 slides, five broken files, and config.yaml: the demo's own, with coarser tiles."""
    folder = tmp_path_factory.mktemp("demo")
    sheet = write_demo(folder / "slides")
    with sheet.open("a") as file:
        for k, path in enumerate(sorted(broken.glob("*.*"))):
            if path.stem in BROKEN:
                shutil.copy(path, folder / "slides" / path.name)
                file.write(f"{path.stem},other_{k},{CLASSES[k % 2]},{path.name}\n")
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    config["datasets"]["demo"] |= {"slides": str(sheet), "root": str(folder / "slides")}
    config |= {"tiles": {"size": 128, "mpp": 1.9}, "slides_per_batch": 10, "max_failed_fraction": 0.2}
    config["folds"]["count"] = 3
    config["models"] = [model for model in config["models"] if model["name"] in ("abmil", "ro-abmil")]  # to save time
    config["training"] |= {"epochs": 60, "patience": 60}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


@pytest.fixture(scope="session")
def done(demo) -> Path:
    """The same folder after a run."""
    result = snakemake(demo, demo / "config.yaml")
    assert result.returncode == 0, result.stderr[-5000:]
    return demo
