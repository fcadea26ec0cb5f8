"""Every command of README.md and docs/ is run, on the demo's slides; what needs the paper's cohorts, or a cluster, as a dry run."""

import re
import shlex
import subprocess
import sys

import pytest
import yaml

from tests.conftest import ROOT
from tests.workflow.running import COARSE, copy_checkout, environment

PAGES = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md"))]
ELSEWHERE = {  # what another test runs, or what needs what a test cannot have
    "make": "Makefile's targets, test_every_target_exists",
    "pip": "test_envs: what is installed is what is pinned",
    "source": "",
}


def commands(page: str) -> list[str]:
    """Lines of the page's bash blocks, without comments and continuations."""
    found = []
    for block in re.findall(r"```bash\n(.*?)```", (ROOT / page).read_text(), re.DOTALL):
        lines = re.sub(r"\\\n\s*", " ", block).splitlines()
        found += [line for text in lines if (line := shlex.join(shlex.split(text, comments=True)))]
    return found


ALL = [(page, command) for page in PAGES for command in dict.fromkeys(commands(page))]


def test_every_target_exists():
    for _, command in ALL:
        if command.startswith("make "):
            subprocess.run([*shlex.split(command), "--dry-run"], cwd=ROOT, check=True, capture_output=True)


def test_no_command_is_of_an_unknown_kind():
    assert {command.split()[0] for _, command in ALL} <= {*ELSEWHERE, "snakemake", "roformermil", "cat"}


MINE = {  # a user's own slides: as few as three folds allow, coarse tiles, models as small as they come
    "datasets": {"mine": {"slides": "config/datasets/mine.csv", "root": "data/demo", "classes": ["separate", "mixed"]}},
    "results": "results/mine",
    "encoder": {"weights": "random", "compile": "never"},
    "tiles": COARSE,
    "folds": {"count": 3},
    "models": [{"name": name, "hidden_dim": 32, "attention_dim": 32} for name in ("abmil", "ro-abmil")],
    "training": {"epochs": 2},
    "ablation": {"positions": ["none"], "scales": [0.5], "layers": [0], "capacity": False},
    "overhead": {"models": ["ro-abmil"], "tiles": [100, 200], "repeats": 2},
}
PLANNED = ("config/paper.yaml", "workflow/profiles/slurm")  # cohorts that a test cannot have; a cluster: test_slurm


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the checkout after the demo's run, with a sheet and a configuration of a user's own."""
    folder = copy_checkout(tmp_path_factory.mktemp("commands"))
    run = ["snakemake", "--cores", "2", "--quiet", "all"]
    result = subprocess.run(run, cwd=folder, env=environment(folder), capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    rows = (folder / "data/demo/slides.csv").read_text().splitlines(keepends=True)
    (folder / "config/datasets/mine.csv").write_text("".join(rows[:13]))
    (folder / "config/mine.yaml").write_text(yaml.safe_dump(MINE))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("page", "command"), ALL, ids=[f"{page}: {command[:60]}" for page, command in ALL])
def test_a_command_of_the_docs_works(checkout, page, command):
    words = shlex.split(command)
    if words[0] in ELSEWHERE:
        pytest.skip(ELSEWHERE[words[0]] or "of the shell")
    if words[0] == "snakemake" and any(name in words for name in PLANNED):
        words = words[: words.index("--report")] if "--report" in words else words
        words.insert(1, "--dry-run")
    result = subprocess.run(
        words, cwd=checkout, env={**environment(checkout), "COLUMNS": "200"}, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]


PYTHON = {page: re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL) for page in PAGES}


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page, blocks in PYTHON.items() if blocks])
def test_the_python_of_the_docs_works(checkout, page):
    elsewhere = ("module ", "from roformermil.features.spatialdata")  # test_module and test_spatialdata run these
    code = "\n".join(block for block in PYTHON[page] if not block.startswith(elsewhere))
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=checkout, env=environment(checkout), capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]


@pytest.mark.slow
def test_the_demo_ends_with_the_table_of_the_readme(checkout):
    assert (checkout / "results/summary.md").read_text().strip() in (ROOT / "README.md").read_text()


@pytest.mark.slow
def test_the_tutorial_runs_on_the_demo(checkout, monkeypatch):
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(checkout / "docs/tutorial.ipynb", 4)
    monkeypatch.setenv("PYTHONPATH", str(checkout))
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(checkout / "docs")}}).execute()
    assert all(cell.get("execution_count") for cell in notebook.cells if cell.cell_type == "code")


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_its_equations_need_no_network(tmp_path):
    command = ["mkdocs", "build", "--strict", "--site-dir", tmp_path]
    subprocess.run(command, cwd=ROOT, env=environment(), check=True, capture_output=True)
    assert (tmp_path / "own.html").read_text().count("<ol>") == 1, "README's steps are one list here too"
    page = (tmp_path / "method.html").read_text()
    assert page.count("<math") > 20 and "$" not in re.sub(r"<(script|style).*?</\1>", "", page, flags=re.DOTALL)
    assert not re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="https?://(?!squidfunk)', page)
