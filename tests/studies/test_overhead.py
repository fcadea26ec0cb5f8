import math

import numpy as np
import pandas as pd
import pytest
import torch

from roformermil.config import Model, Overhead
from roformermil.studies.measure import measure_model
from roformermil.studies.overhead import write_overhead
from roformermil.studies.plots import plot_overhead

SMALL = {"hidden_dim": 32, "attention_dim": 16, "num_heads": 4}


def test_measurements_become_a_table_and_a_plot(tmp_path):
    paths = {(name, tiles): tmp_path / f"{name}_{tiles}.csv" for name in ("ro-abmil", "mean") for tiles in (20, 300)}
    for (name, tiles), path in paths.items():
        measure_model(Model(name=name, **SMALL), tiles, 16, Overhead(repeats=3), path)
    runs = pd.read_csv(paths["ro-abmil", 300])
    assert list(runs.what) == ["inference"] * 3 + ["step"] * 3
    write_overhead(list(paths.values()), tmp_path)
    table = pd.read_csv(tmp_path / "overhead.csv")
    row = table.set_index(["model", "tiles", "measure"]).loc["ro-abmil", 300, "step_seconds"]
    mean, half = runs.seconds[3:].mean(), 4.303 * runs.seconds[3:].std() / math.sqrt(3)  # t, 2 degrees of freedom
    assert row["mean"] == pytest.approx(mean) and row.ci_high - row["mean"] == pytest.approx(half, rel=1e-3)
    text = (tmp_path / "overhead.md").read_text()
    assert text.count("| ro-abmil |") == text.count("| mean |") == 2 and (tmp_path / "overhead.png").exists()
    panels = {panel.get_title(): panel for panel in plot_overhead(table).axes}
    assert ("GPU utilisation in training, %" in panels) == torch.cuda.is_available()
    drawn = [container.lines[0].get_xydata() for container in panels["seconds per training step"].containers]
    steps = table[table.measure == "step_seconds"].set_index("model")[["tiles", "mean"]]
    assert np.array(drawn) == pytest.approx(np.array([steps.loc[name] for name in ("ro-abmil", "mean")]))


@pytest.mark.slow
def test_memory_is_that_of_the_step_alone(tmp_path):
    """Inference, which comes first, must not hide what the step needs: at least the hidden layer, which it keeps."""
    model = Model(name="mean", **SMALL | {"hidden_dim": 128})
    measure_model(model, 60_000, 8, Overhead(repeats=2), tmp_path / "runs.csv")
    runs = pd.read_csv(tmp_path / "runs.csv").set_index("what")
    hidden = 60_000 * 6 * 128 * 4 / 1e9
    assert hidden < runs.loc["step", "memory_gb"].iloc[0] < 6 * hidden


def test_a_step_that_does_not_fit_into_memory_is_a_row(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.optim.Adam, "step", lambda self: torch.empty(2**62, dtype=torch.int8))  # really fails
    measure_model(Model(name="mean", **SMALL), 20, 16, Overhead(), tmp_path / "runs.csv")
    runs = pd.read_csv(tmp_path / "runs.csv").set_index("what")
    assert runs.loc["step", "status"] == "out_of_memory" and set(runs.loc["inference", "status"]) == {"ok"}
    write_overhead([tmp_path / "runs.csv"], tmp_path)
    assert "| out of memory |" in (tmp_path / "overhead.md").read_text()
