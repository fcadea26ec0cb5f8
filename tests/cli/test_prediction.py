"""The verb `predict`: what it passes on, and how it ends."""

import logging

from typer.testing import CliRunner

from roformermil.cli import app
from roformermil.deployment import predict as module


def invoke(monkeypatch, work, *arguments):
    monkeypatch.setattr(module, "predict", work)
    return CliRunner().invoke(app, ["predict", *map(str, arguments)])


def test_ctrl_c_ends_with_one_line_that_says_what_is_kept(monkeypatch, tmp_path, caplog):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    caplog.set_level(logging.INFO)
    result = invoke(monkeypatch, interrupted, "a.svs", "--model", "m", "--out", tmp_path / "out")
    assert result.exit_code == 130 and "Traceback" not in result.output
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert (
        record.getMessage().startswith("stopped; the same command resumes")
        and str(tmp_path / "out") in record.getMessage()
    )


def test_options_are_passed_on(monkeypatch, tmp_path):
    given = {}

    def keep(*values, **named):
        given["values"], given["named"] = values, named
        return [{"slide_id": "a", "status": "missing", "message": "no such file"}]

    options = ["--mpp", "0.25", "--no-heatmaps", "--geojson", "--shuffle-positions"]
    result = invoke(monkeypatch, keep, "a.svs", tmp_path, "--model", "m", "--out", tmp_path / "out", *options)
    assert result.exit_code == 1, "no slide was predicted"
    slides, _, _, weights, tissue_weights, mpp, heatmaps, _ = given["values"]
    assert [str(path) for path in slides] == ["a.svs", str(tmp_path)]
    assert (weights, tissue_weights, mpp, heatmaps) == (None, None, 0.25, False)
    assert given["named"] == {"shuffle_positions": True, "geojson": True}


def test_the_help_has_an_example_and_the_keys_of_settings():
    text = " ".join(CliRunner().invoke(app, ["predict", "--help"], env={"COLUMNS": "200"}).output.split())
    assert "Example: roformermil predict new_slides/" in text
    assert all(keys in text for keys in ("tissue.*", "tiles.*", "encoder.*", "--geojson"))
