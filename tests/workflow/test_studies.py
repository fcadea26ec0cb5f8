"""`snakemake all ablation overhead`, and the two studies in the report."""

from itertools import product

import pandas as pd
import pytest

from tests.workflow.browsing import image_size, make_report, open_category, open_entry, open_report
from tests.workflow.running import run_workflow, write_demo

SECTIONS = {
    "tiles": {"tile_px": 64, "target_mpp": 3.8},
    "folds": {"count": 3},
    "training": {"epochs": 3},
    "ablation": {"positions": ["none"], "scales": [], "layers": [], "capacity": True},
    "overhead": {"models": ["ro-abmil", "mean"], "tiles": [100, 200], "repeats": 2},
}
TARGETS = ("all", "ablation", "overhead")


@pytest.mark.slow
def test_the_studies_are_in_the_report(tmp_path):
    write_demo(tmp_path, 12, **SECTIONS)
    run_workflow(tmp_path, *TARGETS)
    assert set(pd.read_csv(tmp_path / "results/ablation.csv").axis) == {"position", "capacity"}
    steps = pd.read_csv(tmp_path / "results/overhead.csv").query("measure == 'step_seconds'")
    assert sorted(zip(steps.model, steps.tiles, strict=True)) == list(product(("mean", "ro-abmil"), (100, 200)))
    assert (steps["mean"] > 0).all()
    assert "random encoder weights" in (tmp_path / "results/ablation.md").read_text()
    with open_report(make_report(tmp_path, tmp_path / "report.html", *TARGETS)) as page:
        for study in ("ablation", "overhead"):
            open_category(page, "7 Studies")
            open_entry(page, study)
            assert min(image_size(page)) > 200, study
        assert page.errors == []
