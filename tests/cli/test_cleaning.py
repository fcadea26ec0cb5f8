import yaml
from typer.testing import CliRunner

from roformermil.cli import app


def test_clean_lists_leftovers_and_removes_them_once_confirmed(tmp_path):
    stores = tmp_path / "results/mine/features/uni"
    for name in ("a", "gone"):
        (stores / f"{name}.zarr/features").mkdir(parents=True)
        (stores / f"{name}.zarr/zarr.json").write_bytes(bytes(2000))
    (tmp_path / "slides.csv").write_text("slide_id,path\na,a.svs\n")
    config = {
        "datasets": {"mine": {"slides": str(tmp_path / "slides.csv"), "root": str(tmp_path)}},
        "results": str(tmp_path / "results"),
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(config))

    def clean(*options, answer=""):
        result = CliRunner().invoke(app, ["clean", str(tmp_path / "mine.yaml"), *options], input=answer)
        return result.output, sorted(path.name for path in stores.iterdir())

    text, left = clean(answer="n\n")
    assert f"{stores / 'gone.zarr'}\nRemove 1 result (2.0 kB) of slides" in text and left == ["a.zarr", "gone.zarr"]
    text, left = clean()
    assert "Nothing was removed. --yes" in text and left == ["a.zarr", "gone.zarr"], "no answer, as in a script"
    text, left = clean("--yes")
    assert "Removed 1 result" in text and left == ["a.zarr"]
    assert "Nothing to remove" in clean()[0]
