import math

import pandas as pd
import pytest

from roformermil.config import Model, Overhead
from roformermil.studies.measure import measure
from roformermil.studies.overhead import write_overhead

SMALL = {"hidden_dim": 32, "attention_dim": 16, "num_heads": 4}


def test_measurements_become_a_table_and_a_figure(tmp_path):
    cells = []
    for name in ("ro-abmil", "mean"):
        for tiles in (20, 300):
            cells.append(tmp_path / f"{name}_{tiles}.csv")
            measure(Model(name=name, **SMALL), tiles, 16, Overhead(repeats=3), cells[-1])
    runs = pd.read_csv(cells[1])
    assert list(runs.what) == ["inference"] * 3 + ["step"] * 3
    write_overhead(cells, tmp_path)
    table = pd.read_csv(tmp_path / "overhead.csv").set_index(["model", "tiles", "measure"])
    row = table.loc["ro-abmil", 300, "step_seconds"]
    seconds = runs[runs.what == "step"].seconds
    assert row["mean"] == pytest.approx(seconds.mean())
    assert row.ci_high - row["mean"] == pytest.approx(4.303 * seconds.std() / math.sqrt(3), rel=1e-3)  # t, 2 degrees
    text = (tmp_path / "overhead.md").read_text()
    assert text.count("| ro-abmil |") == text.count("| mean |") == 2
    assert (tmp_path / "overhead.png").stat().st_size > 10_000


@pytest.mark.slow
def test_memory_is_that_of_the_step_alone(tmp_path):
    """The step comes after inference, which must not hide what it needs: at least the hidden layer, kept for it."""
    measure(
        Model(name="mean", hidden_dim=128, attention_dim=16, num_heads=4),
        60_000,
        8,
        Overhead(repeats=2),
        tmp_path / "cell.csv",
    )
    runs = pd.read_csv(tmp_path / "cell.csv").set_index("what")
    hidden = 60_000 * 6 * 128 * 4 / 1e9
    assert hidden < runs.loc["step", "memory_gb"].iloc[0] < 6 * hidden


def test_what_does_not_fit_is_a_row(tmp_path, monkeypatch):
    import torch

    monkeypatch.setattr(torch.optim.Adam, "step", lambda self: torch.empty(2**62, dtype=torch.int8))  # really fails
    measure(Model(name="mean", **SMALL), 20, 16, Overhead(), tmp_path / "cell.csv")
    runs = pd.read_csv(tmp_path / "cell.csv").set_index("what")
    assert runs.loc["step", "status"] == "out_of_memory"
    assert set(runs.loc["inference", "status"]) == {"ok"}
    write_overhead([tmp_path / "cell.csv"], tmp_path)
    assert "| out of memory |" in (tmp_path / "overhead.md").read_text()
