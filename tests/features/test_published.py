import pytest
import torch
from typer.testing import CliRunner

from roformermil.cli import app
from roformermil.config import Encoder, Tissue
from roformermil.config.runtime import cache_variables
from roformermil.errors import WeightsError
from roformermil.features.encoders import load_trunk
from roformermil.features.published import download_published
from roformermil.features.weights import OFFLINE, imagenet_file


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    for name, folder in cache_variables(tmp_path / "cache").items():
        monkeypatch.setenv(name, folder)


def test_weights_are_kept_in_the_folder_of_the_configuration(tmp_path):
    assert imagenet_file().is_relative_to(tmp_path / "cache")


def test_jobs_download_nothing_and_name_the_rule_that_does(monkeypatch):
    monkeypatch.setenv(OFFLINE, "1")
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *_, **__: pytest.fail("downloads"))
    with pytest.raises(WeightsError, match="snakemake --forcerun weights"):
        load_trunk(Encoder())


def test_the_list_of_downloads_is_written_only_when_all_are_there(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(WeightsError, match="no network"):
        download_published(Encoder(), Tissue(), tmp_path / "list.txt")
    assert not (tmp_path / "list.txt").exists()
    arguments = ["weights", "--encoder", "{weights: random}", "--out", str(tmp_path / "list.txt")]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert (tmp_path / "list.txt").read_text() == ""
