import json
import subprocess

import torch

from roformermil import __version__
from roformermil.runtime import provenance
from roformermil.runtime.provenance import commit, run_metadata, write_provenance


def test_metadata_has_the_code_the_libraries_and_the_device():
    metadata = run_metadata(torch.device("cpu"))
    assert metadata["roformermil"] == __version__ and metadata["torch"] == torch.__version__
    assert metadata["device"] == "cpu" and "device" not in run_metadata()


def test_the_commit_is_that_of_the_checkout_with_its_changes(tmp_path, monkeypatch):
    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a"]
        subprocess.run(["git", "-C", tmp_path, *identity, *arguments], check=True, capture_output=True)

    current_commit = commit.__wrapped__  # without its cache
    monkeypatch.setattr(provenance, "CHECKOUT", tmp_path)
    assert current_commit() == "", "an installed copy"
    git("init")
    (tmp_path / "a").touch()
    git("add", "a")
    git("commit", "-m", "first")
    assert len(first := current_commit()) == 40
    (tmp_path / "a").write_text("changed")
    assert current_commit() == f"{first}+changes"


def test_provenance_keeps_the_configuration(tmp_path):
    write_provenance(tmp_path / "provenance.json", '{"datasets": {}}')
    stored = json.loads((tmp_path / "provenance.json").read_text())
    assert stored["config"] == {"datasets": {}} and stored["run"]["roformermil"] == __version__
