"""`snakemake all ablation overhead`, and the two studies in the report."""

import pandas as pd
import pytest
import yaml

from roformermil.cohort.synthetic import write_demo_slides
from tests.workflow.browsing import image_size, make_report, open_category, open_entry, open_report
from tests.workflow.running import snakemake

CONFIG = {
    "datasets": {"demo": {"slides": "slides/slides.csv", "root": "slides", "classes": ["separate", "mixed"]}},
    "results": "results",
    "encoder": {"weights": "random", "compile": "never"},
    "tiles": {"tile_px": 64, "target_mpp": 3.8},
    "folds": {"count": 3},
    "models": [{"name": name, "hidden_dim": 32, "attention_dim": 32} for name in ("abmil", "ro-abmil")],
    "training": {"epochs": 3},
    "ablation": {"positions": ["none"], "scales": [], "layers": [], "capacity": True},
    "overhead": {"models": ["ro-abmil", "mean"], "tiles": [100, 200], "repeats": 2},
}
TARGETS = ("all", "ablation", "overhead")


@pytest.mark.slow
def test_the_studies_are_in_the_report(tmp_path):
    write_demo_slides(tmp_path / "slides", 12)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    result = snakemake(tmp_path, tmp_path / "config.yaml", *TARGETS)
    assert result.returncode == 0, result.stderr[-5000:]
    assert set(pd.read_csv(tmp_path / "results/ablation.csv").axis) == {"position", "capacity"}
    assert set(pd.read_csv(tmp_path / "results/overhead.csv").model) == {"ro-abmil", "mean"}
    assert "random encoder weights" in (tmp_path / "results/ablation.md").read_text()
    with open_report(make_report(tmp_path, tmp_path / "report.html", *TARGETS)) as page:
        for study in ("ablation", "overhead"):
            open_category(page, "7 Studies")
            open_entry(page, study)
            assert min(image_size(page)) > 200, study
        assert page.errors == []
