"""The paper's open questions."""

import json
from pathlib import Path
from typing import Annotated

import typer

from roformermil.cli.options import ConfigText, Datasets, Predictions, Text, Threads, use_machine

app = typer.Typer()


@app.command()
def ablation(
    predictions: Predictions,
    variants: Annotated[str, typer.Option(help="JSON list of lists: axis, name, model's id")],
    base: Annotated[str, typer.Option(help="id of the model that was varied")],
    datasets: Datasets,
    encoder: Annotated[str, typer.Option(help="id of the encoder")],
    out: Annotated[Path, typer.Option(help="results folder, for ablation.csv, ablation.md and ablation.png")],
    config: ConfigText = "{}",
) -> None:
    """Compare the variants of an ablation on their shared folds."""
    from roformermil.runtime.provenance import write_provenance
    from roformermil.studies.ablation import VariantName, write_ablation

    names = [VariantName(*variant) for variant in json.loads(variants)]
    stores = {name: out / name / "features" / encoder for name in datasets.split(",")}
    write_ablation(predictions, names, base, stores, out)
    write_provenance(out / "ablation_provenance.json", config)


@app.command()
def measure(
    model: Annotated[str, typer.Option(help="a model's settings as in the configuration, at least {name: ...}")],
    tiles: Annotated[int, typer.Option(min=1, help="tiles of the slide")],
    out: Annotated[Path, typer.Option(help="table to write, one row per timed run")],
    overhead: Text = "{}",
    in_dim: Annotated[int, typer.Option(min=1, help="values per tile")] = 1024,
    threads: Threads = 0,
) -> None:
    """Measure time and memory of one model on a slide with this many tiles."""
    from roformermil.config import Model, Overhead
    from roformermil.config.base import read_settings
    from roformermil.studies.measure import measure_model

    use_machine(threads)
    settings = read_settings(Overhead, overhead, "--overhead")
    measure_model(read_settings(Model, model, "--model"), tiles, in_dim, settings, out)


@app.command()
def overhead(
    tables: Annotated[list[Path], typer.Argument(help="tables that `measure` wrote")],
    out: Annotated[Path, typer.Option(help="folder for overhead.csv, overhead.md and overhead.png")],
    config: ConfigText = "{}",
) -> None:
    """Join measurements into a table and a plot."""
    from roformermil.runtime.provenance import write_provenance
    from roformermil.studies.overhead import write_overhead

    write_overhead(tables, out)
    write_provenance(out / "overhead_provenance.json", config)
