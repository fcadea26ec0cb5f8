"""The paper's open questions."""

import json
from pathlib import Path
from typing import Annotated

import typer

from roformermil.cli.options import ConfigText, Text, Threads, use_machine
from roformermil.config import Model, Overhead
from roformermil.provenance import write_provenance
from roformermil.settings import read_settings

app = typer.Typer()


@app.command()
def ablation(
    predictions: Annotated[list[Path], typer.Argument(help="predictions.csv of every fold of every arm")],
    arms: Annotated[str, typer.Option(help="JSON list of lists: axis, name, model's id")],
    base: Annotated[str, typer.Option(help="id of the model that was varied")],
    features: Annotated[list[Path], typer.Option(help="results/{dataset}/features/{encoder} of every data set")],
    out: Annotated[Path, typer.Option(help="folder for ablation.csv, ablation.md and ablation.png")],
    config: ConfigText = "{}",
) -> None:
    """Compare the arms of an ablation on their shared folds."""
    from roformermil.studies.ablation import ArmName, ablate

    ablate(predictions, [ArmName(*arm) for arm in json.loads(arms)], base, {f.parts[-3]: f for f in features}, out)
    write_provenance(out / "ablation_provenance.json", config)


@app.command()
def measure(
    model: Annotated[str, typer.Option(help="a model's settings as in the config, at least {name: ...}")],
    tiles: Annotated[int, typer.Option(min=1, help="tiles of the slide")],
    out: Annotated[Path, typer.Option(help="table to write, a row a timed run")],
    overhead: Text = "{}",
    in_dim: Annotated[int, typer.Option(min=1, help="values a tile")] = 1024,
    threads: Threads = 0,
) -> None:
    """Time one model on a slide of so many tiles, and its memory."""
    from roformermil.studies.measure import measure as measure_model

    use_machine(threads)
    settings = read_settings(Overhead, overhead, "--overhead")
    measure_model(read_settings(Model, model, "--model"), tiles, in_dim, settings, out)


@app.command()
def overhead(
    cells: Annotated[list[Path], typer.Argument(help="tables that `measure` wrote")],
    out: Annotated[Path, typer.Option(help="folder for overhead.csv, overhead.md and overhead.png")],
    config: ConfigText = "{}",
) -> None:
    """Join measurements into a table and a figure."""
    from roformermil.studies.overhead import summarise

    summarise(cells, out)
    write_provenance(out / "overhead_provenance.json", config)
