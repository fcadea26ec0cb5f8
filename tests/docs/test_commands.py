"""Every command of README.md, docs/ and the verbs' help works on the demo's slides; those for the paper's cohorts or a
cluster as a dry run."""

import re
import shlex
import shutil
import subprocess
import sys

import pytest
import typer
import yaml
from markdown_it import MarkdownIt

from roformermil.cli import app
from roformermil.config import Config
from tests import ROOT
from tests.workflow.running import COARSE_TILES, copy_checkout, environment

PAGES = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md"))]
SKIPPED = {
    "apptainer": "test_deploy.py has a stand-in for it",
    "cd": "into the folder that snakedeploy makes: test_deploy.py",
    "docker": "it needs a registry",
    "make": "test_every_make_target_exists",
    "pip": "test_environments.py compares what is installed with what is pinned",
    "snakedeploy": "test_deploy.py",
    "ssh": "a machine elsewhere",
    "source": "the tests' environment is active",
    "vips": "another project's program, for files that OpenSlide does not read",
}


def read_commands(page: str) -> list[str]:
    """The commands of a page's bash blocks, one line each, without comments."""
    commands = []
    for block in re.findall(r"```bash\n(.*?)```", (ROOT / page).read_text(), re.DOTALL):
        lines = re.sub(r"\\\n\s*", " ", block).splitlines()
        commands += [line for text in lines if (line := shlex.join(shlex.split(text, comments=True)))]
    return commands


VERBS = typer.main.get_command(app).commands
EXAMPLE = re.compile(r"Examples?: `?((?:roformermil|snakemake) [^`\n]*?)(?:`|\.? Settings|, whose|, the text|\n|$)")


def read_examples(verb: str) -> list[str]:
    """The first example of a verb's help."""
    return EXAMPLE.findall(VERBS[verb].epilog or "")[:1]


COMMANDS = [(page, command) for page in PAGES for command in dict.fromkeys(read_commands(page))]
COMMANDS += [(f"{verb} --help", command) for verb in VERBS for command in read_examples(verb)]


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_verb_has_an_example_and_names_settings_that_exist(verb):
    epilog = VERBS[verb].epilog or ""
    assert read_examples(verb) and re.search("settings|keys", epilog, re.IGNORECASE), "an example, and its settings"
    for names in re.findall(r"Settings: (.*)", epilog):
        assert {name.split(".")[0] for name in re.findall(r"`(.*?)`", names)} <= set(Config.model_fields)


def test_every_make_target_exists():
    for _, command in COMMANDS:
        if command.startswith("make "):
            subprocess.run([*shlex.split(command), "--dry-run"], cwd=ROOT, check=True, capture_output=True)


def test_every_program_of_the_docs_is_known():
    assert {command.split()[0] for _, command in COMMANDS} <= {*SKIPPED, "snakemake", "roformermil", "cat"}


MINE = {  # config/mine.yaml: as few slides as three folds allow, coarse tiles, small models
    "datasets": {
        "mine": {"slides": "config/datasets/mine.csv", "root": "data/demo", "classes": ["inflamed", "excluded"]}
    },
    "results": "results/mine",
    "encoder": {"weights": "random", "compile": "never"},
    "tiles": COARSE_TILES,
    "folds": {"count": 3},
    "models": [{"name": name, "hidden_dim": 32, "attention_dim": 32} for name in ("abmil", "ro-abmil")],
    "training": {"epochs": 2},
    "ablation": {
        "positions": ["none"],
        "scales": [0.5],
        "localities": [],
        "layers": [0],
        "capacity": False,
        "augmentations": [],
        "normalizations": [],
    },
    "search": {"space": {"dropout": [0.0]}, "budget": 2},
    "overhead": {"models": ["ro-abmil"], "tiles": [100, 200], "repeats": 2},
}
DEMO, FEW = (
    "data/demo/slides.csv",
    "data/demo/few.csv",
)  # the first slides of the demo, for verbs that open each of them
USERS_FILES = {"/data/slides": "data/demo", "labels.csv": DEMO, "labels.xlsx": DEMO}
DRY_RUN = (
    "config/paper.yaml",
    "workflow/profiles/slurm",
    "download",
)  # not here: cohorts, a source; a cluster: test_slurm.py


def run(command, folder):
    env = {**environment(folder), "COLUMNS": "200"}
    result = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the checkout after the demo's run, with a slide sheet and a configuration for a user's own slides."""
    folder = copy_checkout(tmp_path_factory.mktemp("commands"))
    run(["snakemake", "--cores", "2", "--quiet", "all"], folder)
    shutil.copy(folder / "results/summary.md", folder / "demo.md")  # `evaluate` of its help writes the tables again
    rows = (folder / DEMO).read_text().splitlines(keepends=True)
    (folder / FEW).write_text("".join(rows[:9]))
    (folder / "config/datasets/mine.csv").write_text("".join(rows[:13]))
    for path in ("mine.yaml", "config/mine.yaml"):
        (folder / path).write_text(yaml.safe_dump(MINE))
    shutil.copy(folder / "config/datasets/mine.csv", folder / "mine.csv")
    (folder / "new_slides").mkdir()
    shutil.copy(folder / "data/demo/demo_00.tif", folder / "new_slides")
    shutil.copy(folder / "data/demo/demo_01.tif", folder / "other.svs")
    (folder / "bags.csv").write_text("slide_id,path\n" + "".join(f"demo_0{i},bags/demo_0{i}.h5\n" for i in range(2)))
    stores = sorted((folder / "results/demo/features/resnet50-random").glob("demo_0[01].zarr"))
    run(["roformermil", "export", *stores, "--out", "bags"], folder)
    slides = ["list-slides", "--sheet", FEW, "--out", "listed.csv"]
    for arguments in (slides, ["list-slides", "--sheet", "bags.csv", "--out", "listed_bags.csv"]):
        run(["roformermil", *arguments], folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=[f"{page}: {command[:60]}" for page, command in COMMANDS])
def test_a_command_of_the_docs_works(checkout, page, command):
    words = shlex.split(command)
    if words[0] in SKIPPED:
        pytest.skip(SKIPPED[words[0]])
    if words[:2] == ["roformermil", "view"]:
        pytest.skip("it serves until Ctrl-C: tests/viewer")
    if words[:2] == ["roformermil", "init"]:  # of the demo's slides, beside mine.yaml
        words = [USERS_FILES.get(word, word) for word in words] + ["--out", "begun", "--force"]
    if words[1:2] in (["list-slides"], ["predict"]):
        words = [FEW if word == DEMO else word for word in words]
    words = [path for word in words for path in (sorted(checkout.glob(word)) if "*" in word else [word])]
    if words[0] == "snakemake" and any(name in words for name in DRY_RUN):
        words = words[: words.index("--report")] if "--report" in words else words
        words.insert(1, "--dry-run")
    run(words, checkout)


PYTHON = {page: re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL) for page in PAGES}


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page, blocks in PYTHON.items() if blocks])
def test_the_python_of_the_docs_works(checkout, page):
    tested_elsewhere = ("module ", "from roformermil import to_spatialdata")  # test_module.py, test_scverse.py
    code = "\n".join(block for block in PYTHON[page] if not block.startswith(tested_elsewhere))
    run([sys.executable, "-c", code], checkout)


@pytest.mark.slow
def test_the_readme_shows_the_demos_table(checkout):
    """But for what differs between processors: values near 0.5, their intervals, and which guessing models luck lifts."""
    shown, made = (_same_everywhere(text.read_text()) for text in (ROOT / "README.md", checkout / "demo.md"))
    assert made.strip() in shown


def _same_everywhere(text: str) -> str:
    text = re.sub(r"(better than chance: mean-linear).*", r"\1", text)
    return re.sub(r"\d\.\d\d", lambda number: number[0] if number[0] in ("0.00", "1.00") else "0.##", text)


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
    page = (tmp_path / "method.html").read_text()
    assert page.count("<math") > 20 and "$" not in re.sub(r"<(script|style).*?</\1>", "", page, flags=re.DOTALL)
    assert not re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="https?://(?!squidfunk)', page)


@pytest.mark.parametrize("page", PAGES)
def test_text_and_pictures_are_not_indented_into_code(page):
    blocks = [token.content for token in MarkdownIt().parse((ROOT / page).read_text()) if token.type == "code_block"]
    assert blocks == [], "code of the docs is in fences"
