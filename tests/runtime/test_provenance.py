import json
import os
import subprocess
import sys
from functools import partial
from hashlib import sha256

import pytest
import torch

from roformermil import __version__
from roformermil.errors import ConfigError
from roformermil.runtime import provenance
from roformermil.runtime.provenance import (
    check_code,
    check_command,
    code_variables,
    commit,
    environment_packages,
    run_metadata,
    write_provenance,
)


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
    assert stored["environment"] == environment_packages()


def test_provenance_names_each_package_and_those_of_other_versions_than_the_constraints(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "CONSTRAINTS_FOLDERS", (tmp_path,))
    assert environment_packages()["constraints"] == {}, "a copy has no constraints"
    text = f"# tested\nTorch=={torch.__version__.split('+')[0]}\nPillow==0.1\nnot-here==1.0\n"
    for name in ("constraints.txt", "constraints-tiatoolbox.txt"):
        (tmp_path / name).write_text(text)
    found = environment_packages()
    assert found["packages"]["torch"] == torch.__version__ and found["packages"]["scikit-learn"]
    assert found["constraints"]["sha256"] == sha256(text.encode()).hexdigest()
    assert found["constraints"]["differing"] == ["pillow"]


OTHER = "0.0:0123456789abcdef"


@pytest.mark.parametrize(
    ("folder", "prefix", "files", "remedy"),
    [
        ("planned", "venv", ["pyproject.toml"], "`pip install --editable {planned}`"),
        ("planned", "venv", [], "Activate the environment of the planned one"),
        ("planned", "conda", ["pyproject.toml"], "Remove {here} and run snakemake again"),
        ("", "venv", [], "the source in {here} changed while the workflow ran: run snakemake again"),
    ],
)
def test_a_job_with_other_code_than_the_plans_is_refused_with_a_remedy(
    tmp_path, monkeypatch, folder, prefix, files, remedy
):
    if prefix == "conda":
        monkeypatch.setattr(provenance, "HERE", tmp_path / "conda/share/roformermil/copy")
    planned, here = tmp_path / folder if folder else provenance.HERE, provenance.HERE
    for name in files:
        planned.mkdir()
        (planned / name).touch()
    monkeypatch.setattr(sys, "prefix", str(tmp_path / prefix))
    monkeypatch.setenv("ROFORMERMIL_CHECKOUT", str(planned))
    monkeypatch.setenv("ROFORMERMIL_CODE", OTHER)
    with pytest.raises(ConfigError) as error:
        check_code()
    assert remedy.format(planned=planned, here=here) in str(error.value)
    if folder:
        assert f"runs roformermil {__version__} from {here}, but" in str(error.value)
        assert f"planned with roformermil 0.0 from {planned}, whose source differs" in str(error.value)


def test_a_job_with_the_plans_code_and_a_command_of_a_person_are_not_refused(monkeypatch):
    check_code()
    for name, value in code_variables().items():
        monkeypatch.setenv(name, value)
    check_code()


def test_the_command_line_refuses_in_one_line_of_the_jobs_log(tmp_path):
    command = [sys.executable, "-m", "roformermil", "--log", tmp_path / "job.log", "schema"]
    run = partial(subprocess.run, command, capture_output=True, text=True)
    refused = run(env={**os.environ, "ROFORMERMIL_CODE": OTHER, "ROFORMERMIL_CHECKOUT": str(tmp_path)})
    assert refused.returncode == 1 and "Traceback" not in refused.stderr and not refused.stdout
    assert "whose source differs" in (tmp_path / "job.log").read_text()
    assert run(env={**os.environ, **code_variables()}).returncode == 0


def test_jobs_need_the_command_on_path_and_the_remedy_activates_this_environment(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance.sysconfig, "get_path", lambda name: str(tmp_path / "bin"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(ConfigError, match=r"not on PATH.*pip install --editable"):
        check_command()
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin/roformermil"
    command.touch()
    with pytest.raises(ConfigError, match=r"not on PATH.*conda activate"):
        check_command()
    (tmp_path / "bin/activate").touch()
    with pytest.raises(ConfigError, match=f"source {tmp_path / 'bin/activate'}"):
        check_command()
    command.chmod(0o755)
    check_command()
