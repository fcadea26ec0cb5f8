"""SIGTERM to the commands of jobs and to all their processes, as a scheduler sends it."""

import subprocess
import sys
from pathlib import Path

import pytest

from roformermil.cohort.slide_table import read_slide_table
from roformermil.cohort.synthetic import write_demo_slides
from tests.terminating import terminate

SLIDES = 10


def command(verb: str, *arguments: str | Path, **options: object) -> list[str]:
    named = [str(part) for name, value in options.items() for part in (f"--{name}", value)]
    return [sys.executable, "-m", "roformermil", verb, *map(str, arguments), *named]


def run(verb: str, *arguments: str | Path, **options: object) -> str:
    done = subprocess.run(command(verb, *arguments, **options), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stderr


def count(folder: Path, pattern: str) -> int:
    return len(list(folder.glob(pattern)))


@pytest.fixture(scope="module")
def sheet(tmp_path_factory):
    return write_demo_slides(tmp_path_factory.mktemp("slides"), SLIDES)


@pytest.mark.slow
def test_slides_in_hand_are_finished_and_the_retry_does_the_rest(sheet, tmp_path):
    table, threads = tmp_path / "tissue.csv", 2
    run("list-slides", sheet=sheet, out=tmp_path / "slides.csv")
    segment = {"out": tmp_path / "masks", "table": table, "threads": threads}
    terminate(command("segment", tmp_path / "slides.csv", **segment), lambda: count(tmp_path, "masks/*.png") > 0)
    masks = {path: path.stat().st_mtime_ns for path in tmp_path.glob("masks/*.png")}
    assert threads <= len(masks) < SLIDES and not table.exists()
    run("segment", tmp_path / "slides.csv", **segment)
    assert all(path.stat().st_mtime_ns == modified for path, modified in masks.items())
    assert [record.status for record in read_slide_table(table)] == ["ok"] * SLIDES

    run(
        "tile",
        table,
        masks=tmp_path / "masks",
        out=tmp_path / "tiles",
        table=tmp_path / "tiles.csv",
        tiles="{tile_px: 128, target_mpp: 1.0}",
    )
    embed = {"tiles": tmp_path / "tiles", "out": tmp_path / "stores", "table": tmp_path / "embed.csv", "threads": 1}
    arguments = ("embed", tmp_path / "tiles.csv", "--encoder", "{weights: random, compile: never, batch_size: 8}")
    terminate(command(*arguments, **embed), lambda: count(tmp_path, "stores/*.zarr") > 0)
    stores = count(tmp_path, "stores/*.zarr")
    assert 2 <= stores < SLIDES and not embed["table"].exists()
    assert count(tmp_path, "stores/.*") == 0, "no store is half written"
    run(*arguments, **embed)
    records = read_slide_table(embed["table"])
    assert [record.status for record in records] == ["ok"] * SLIDES
    # one that exists takes no time
    before = {record.slide_id: record.seconds for record in read_slide_table(tmp_path / "tiles.csv")}
    assert sum(record.seconds == before[record.slide_id] for record in records) == stores
