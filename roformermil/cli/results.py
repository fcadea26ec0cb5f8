"""From predictions to numbers, plots, heat maps, pages and the paper's open questions."""

import json
import logging
from pathlib import Path
from typing import Annotated

import typer

from roformermil.cli import options
from roformermil.cohort.slide_table import read_slide_table
from roformermil.config import SLIDE_TIMEOUT, Overhead
from roformermil.runtime.memory import WITH_TORCH, share_memory
from roformermil.runtime.provenance import write_provenance

app = typer.Typer()
log = logging.getLogger("roformermil")


@app.command(
    epilog="Example: roformermil evaluate results/demo/resnet50-random/*/fold_*/predictions.csv --datasets demo --out"
    " results. Settings: `decisions`, in --config; else it reads what the trainings wrote."
)
def evaluate(
    predictions: options.Predictions,
    datasets: options.Datasets,
    out: Annotated[Path, typer.Option(help="results folder, for metrics.csv, summary.csv, summary.md, ...")],
    config: options.ConfigText = "{}",
) -> None:
    """Compute every metric from the folds' predictions and write the tables."""
    from roformermil.evaluation.tables import write_tables

    write_tables(predictions, [out / name for name in datasets.split(",")], out, config)


@app.command(
    epilog="Example: roformermil plots results/mine/mine/*/*/fold_*/predictions.csv --out results/mine/mine/plots."
    " Settings: none."
)
def plots(
    predictions: options.Predictions,
    out: Annotated[Path, typer.Option(help="folder for history.png and the plots of the task, such as curves.png")],
) -> None:
    """Plot a data set's training curves and its results: ROC and PR curves, calibration and confusion matrices of classes, survival
    curves, or predicted against true numbers."""
    from roformermil.report.plots.dataset import plot_dataset

    plot_dataset(predictions, out)


@app.command(
    epilog="Example: roformermil heatmap results/demo/features/resnet50-random/batch_0.csv --folds results/demo/folds.csv"
    " --models results/demo/resnet50-random/ro-abmil --features results/demo/features/resnet50-random"
    " --classes inflamed,excluded --card results/demo/resnet50-random/ro-abmil/model --out maps --table maps/slides.csv."
    " Settings: `heatmaps.models`, `heatmaps.smooth`."
)
def heatmap(
    slides: options.TableIn,
    folds: Annotated[Path, typer.Option(help="folds.csv", exists=True)],
    models: Annotated[Path, typer.Option(help="folder with fold_*/model.safetensors", exists=True)],
    features: options.Features,
    out: Annotated[Path, typer.Option(help="folder for the heat maps and their GeoJSON")],
    table: options.TableOut,
    classes: options.Classes = "",
    card: Annotated[
        Path | None,
        typer.Option(help="the models' package (folder with model.json), whose AUROC tells whether they beat chance"),
    ] = None,
    smooth: Annotated[bool, typer.Option("--smooth", help="blend the values of neighbouring tiles")] = False,
    ensemble: Annotated[
        bool, typer.Option("--ensemble", help="by all models together: of an external data set, which all folds test")
    ] = False,
    timeout: options.Timeout = SLIDE_TIMEOUT,
    threads: options.Threads = 0,
    memory: options.Memory = 0,
) -> None:
    """Draw the heat map of each slide of a batch, by the model that was not trained on it."""
    from roformermil.deployment.model_card import read_card
    from roformermil.report.heatmaps.out_of_fold import write_out_of_fold_heatmaps

    options.use_machine(threads)
    share_memory(memory, readers=1, own=WITH_TORCH)
    records, names = read_slide_table(slides), [name for name in classes.split(",") if name]
    warning = read_card(card).chance_warning if card else ""
    options.write_exclusively(
        table,
        lambda: write_out_of_fold_heatmaps(
            records, folds, models, features, names, out, timeout, warning, smooth, ensemble
        ),
    )


@app.command(
    epilog="Example: roformermil gallery results/demo/resnet50-random/ro-abmil/fold_*/predictions.csv --heatmaps"
    " results/demo/resnet50-random/ro-abmil/heatmaps --out chosen. Settings: `heatmaps.in_report`."
)
def gallery(
    predictions: options.Predictions,
    heatmaps: Annotated[Path, typer.Option(help="folder that `heatmap` wrote", exists=True)],
    out: Annotated[Path, typer.Option(help="folder for copies of the chosen heat maps")],
    per_class: Annotated[int, typer.Option(min=0, help="number of right and of wrong predictions per class")] = 1,
) -> None:
    """Choose the heat maps for the report: those of the most confident predictions."""
    from roformermil.report.heatmaps.gallery import copy_gallery

    log.info("chosen: %s", ", ".join(copy_gallery(predictions, heatmaps, out, per_class)))


@app.command(
    epilog="Example: roformermil pages results/mine --datasets mine. Settings: `heatmaps.in_report`, which was given to"
    " the verb gallery."
)
def pages(
    results: Annotated[Path, typer.Argument(help="folder that `evaluate` wrote into")], datasets: options.Datasets
) -> None:
    """Write the report: `report.html`, one file that works offline, and `comparisons.png`."""
    from roformermil.report.pages import write_report

    write_report(results, [results / name for name in datasets.split(",")])


@app.command(
    epilog="Example: snakemake ablation --cores all --configfile mine.yaml, whose rule gives this verb its long arguments."
    " Settings: `ablation`."
)
def ablation(
    predictions: options.Predictions,
    variants: Annotated[str, typer.Option(help="JSON list of lists: axis, name, id of the model")],
    base: Annotated[str, typer.Option(help="id of the model that was varied")],
    datasets: options.Datasets,
    encoder: Annotated[str, typer.Option(help="id of the encoder")],
    out: Annotated[Path, typer.Option(help="results folder, for ablation.csv, ablation.md and ablation.png")],
    config: options.ConfigText = "{}",
) -> None:
    """Compare the variants of an ablation on their shared folds."""
    from roformermil.studies.ablation import write_ablation

    stores = {name: out / name / "features" / encoder for name in datasets.split(",")}
    write_ablation(predictions, [tuple(variant) for variant in json.loads(variants)], base, stores, out, config)


@app.command(
    epilog="Example: snakemake search --cores all --configfile mine.yaml, whose rule gives this verb the configuration."
    " Settings: `search`."
)
def search(
    out: Annotated[Path, typer.Option(help="results folder, for search.csv, search.md and search.png", exists=True)],
    config: Annotated[str, typer.Option(help="the configuration as JSON")],
) -> None:
    """Compare the settings that were chosen in each fold with the default on test slides."""
    from roformermil.studies.search import write_search

    write_search(out, config)


@app.command(
    epilog="Example: roformermil measure --model '{name: ro-abmil}' --tiles 1000 --out times.csv. Settings: `overhead`,"
    " `models`."
)
def measure(
    model: options.ModelOption,
    tiles: Annotated[int, typer.Option(min=1, help="number of tiles of the slide")],
    out: Annotated[Path, typer.Option(help="table to write, one row per timed run")],
    overhead: Annotated[Overhead, options.section(Overhead, "--overhead")],
    in_dim: Annotated[int, typer.Option(min=1, help="values per tile")] = 1024,
    threads: options.Threads = 0,
) -> None:
    """Measure time and memory of one model on a slide with this many tiles."""
    from roformermil.studies.measure import measure_model

    options.use_machine(threads)
    measure_model(model, tiles, in_dim, overhead, out)


@app.command(epilog="Example: roformermil overhead times.csv --out tables. Settings: `overhead`.")
def overhead(
    tables: Annotated[list[Path], typer.Argument(help="tables that `measure` wrote")],
    out: Annotated[Path, typer.Option(help="folder for overhead.csv, overhead.md and overhead.png")],
    config: options.ConfigText = "{}",
) -> None:
    """Join the measurements of `measure` into a table and a plot."""
    from roformermil.studies.overhead import write_overhead

    write_overhead(tables, out)
    write_provenance(out / "overhead_provenance.json", config)
