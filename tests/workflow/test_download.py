"""Slides downloaded by the workflow, from a web server on this machine."""

import hashlib
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml

from roformermil.cohort.slide_table import read_slide_table, read_slide_tables
from roformermil.cohort.synthetic import write_demo_slides
from tests import ROOT
from tests.factories import serve_folder
from tests.workflow.running import change_config, planned_jobs, run_workflow, snakemake, write_demo


@pytest.fixture
def server(tmp_path):
    """A folder and the address at which it is served."""
    folder = tmp_path / "server"
    folder.mkdir()
    with serve_folder(folder) as url:
        yield folder, url


def configured(folder: Path, url: str, **changes) -> Path:
    """The demo's configuration with `url` as the source of its slides; none of them is here."""
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    source = {"kind": "http", "url": url, "checksums": f"{url}/md5"}
    config["datasets"]["demo"] |= {"slides": str(folder / "slides.csv"), "root": str(folder / "here"), "source": source}
    (folder / "config.yaml").write_text(yaml.safe_dump(config | {"slides_per_batch": 4} | changes))
    return folder / "config.yaml"


def write_checksums(folder: Path) -> None:
    files = [file for file in folder.iterdir() if file.name != "md5"]
    lines = [f"{hashlib.md5(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    (folder / "md5").write_text("".join(lines))


@pytest.mark.slow
def test_weights_are_downloaded_again_where_others_are_needed_or_elsewhere(tmp_path):
    write_demo(tmp_path, 6, encoder={"id": "net", "weights": "imagenet"})
    (tmp_path / "results/weights").mkdir(parents=True)
    (tmp_path / "results/weights/net.txt").touch()
    run_workflow(tmp_path, "--touch", "weights")  # as if it had run
    plain = (tmp_path / "config.yaml").read_text()
    for sections in (
        {},
        {"encoder": {"name": "resnet50-full"}},
        {"tissue": {"method": "grandqc"}},
        {"runtime": {"weights": "elsewhere"}},
    ):
        (tmp_path / "config.yaml").write_text(plain)
        change_config(tmp_path, **sections)
        planned = planned_jobs(snakemake(tmp_path, tmp_path / "config.yaml", "-n", "results/weights/net.txt"))
        assert planned == ({"weights": 1} if sections else {}), sections


@pytest.mark.slow
def test_snakemake_download_fetches_the_slides_and_the_next_run_resumes(server, tmp_path):
    folder, url = server
    write_demo_slides(folder, 6)
    (folder / "slides.csv").rename(tmp_path / "slides.csv")
    write_checksums(folder)
    with (folder / "demo_05.tif").open("ab") as file:
        file.write(b"not in the checksum")
    config = configured(tmp_path, url)
    result = snakemake(tmp_path, config, "download", "--keep-going")
    assert result.returncode != 0 and "demo_05" in result.stderr and "checksum" in result.stderr
    here = tmp_path / "here"
    assert sorted(file.name for file in here.glob("*.tif")) == [f"demo_0{k}.tif" for k in range(5)]

    write_checksums(folder)  # repaired: the next run downloads what is missing, and segments
    tables = [f"results/demo/tissue/batch_{batch}.csv" for batch in ("0", "1")]
    result = snakemake(tmp_path, config, *tables)
    assert result.returncode == 0, result.stderr[-3000:]
    assert (here / "demo_00.tif").read_bytes() == (folder / "demo_00.tif").read_bytes()
    records = read_slide_tables(tmp_path / table for table in tables)
    assert [record.slide_id for record in records] == [f"demo_0{k}" for k in range(6)]
    assert records[0].status == "ok"


@pytest.mark.slow
def test_features_of_other_pipelines_are_downloaded_before_they_are_imported(server, tmp_path):
    folder, url = server
    for k in range(4):
        with h5py.File(folder / f"s{k}.h5", "w") as file:
            file["features"] = np.ones((5, 8), np.float32)
            file["coords"] = np.stack([np.arange(5) * 256, np.zeros(5)], axis=1).astype(np.int64)
    write_checksums(folder)
    sheet = pd.DataFrame([(f"s{k}", f"p{k}", ("inflamed", "excluded")[k % 2], f"s{k}.h5") for k in range(4)])
    sheet.to_csv(tmp_path / "slides.csv", index=False, header=["slide_id", "patient_id", "label", "path"])
    config = configured(tmp_path, url, encoder={"name": "imported", "id": "net"})
    result = snakemake(tmp_path, config, "results/demo/slides.csv")
    assert result.returncode == 0, result.stderr[-3000:]
    assert [record.status for record in read_slide_table(tmp_path / "results/demo/slides.csv")] == ["ok"] * 4
