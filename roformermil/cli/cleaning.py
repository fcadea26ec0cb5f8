"""Results that are no longer of use."""

from pathlib import Path
from typing import Annotated

import typer

from roformermil.cohort.leftovers import find_leftovers
from roformermil.cohort.slide_sheet import read_slide_sheet
from roformermil.config import load_config
from roformermil.runtime.files import remove, size_on_disk
from roformermil.runtime.text import file_size, first_lines, plural

SHOWN = 20
app = typer.Typer()


@app.command(epilog="Example: roformermil clean mine.yaml. Settings: `results`, `datasets`.")
def clean(
    config: Annotated[Path, typer.Argument(help="configuration file")],
    yes: Annotated[bool, typer.Option("--yes", help="remove them without asking")] = False,
) -> None:
    """List results of slides that left the slide sheet, and tables of batches that are no longer used, and remove them once you
    agree. Do not run it beside the workflow."""
    settings = load_config(config)
    found: list[Path] = []
    for name, dataset in settings.datasets.items():
        slides = read_slide_sheet(dataset.slides, dataset.root, None, dataset.allow_absolute, check_files=False)
        found += find_leftovers(settings.results / name, slides, settings.slides_per_batch)
    if not found:
        typer.echo("Nothing to remove: all results are of slides in the slide sheets.")
        return
    typer.echo(first_lines([str(path) for path in found], SHOWN))
    size = file_size(sum(map(size_on_disk, found)))
    what = f"{plural(len(found), 'result')} ({size}) of slides and batches that are no longer used"
    if not (yes or _confirmed(f"Remove {what}?")):
        typer.echo("Nothing was removed. --yes removes without asking.")
        return
    for path in found:
        remove(path)
        path.with_name(f".{path.name}.lock").unlink(missing_ok=True)
    typer.echo(f"Removed {what}.")


def _confirmed(question: str) -> bool:
    """Whether the user agrees; not where nobody can answer, as in a script."""
    try:
        return typer.confirm(question)
    except typer.Abort:
        typer.echo()
        return False
