"""The command line: one verb a rule of the workflow, nothing but argument passing.

Settings are handed over in the config's own words, as YAML or JSON: `--tissue '{method: otsu}'`; what is left out
has the config's default. Heavy imports happen inside the verb that needs them.
"""

import json
import logging
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from roformermil import __version__
from roformermil.config import Encoder, Folds, Model, Overhead, Tiles, Tissue, Training, load_config
from roformermil.errors import ConfigError, RoFormerMILError
from roformermil.settings import read_settings

if TYPE_CHECKING:
    from roformermil.status import Status

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
log = logging.getLogger("roformermil")

Text = Annotated[str, typer.Option(help="settings as in the config, YAML or JSON")]
StatusIn = Annotated[Path, typer.Argument(help="status table of the stage before", exists=True, dir_okay=False)]
StatusOut = Annotated[Path, typer.Option(help="status table to write, a row a slide")]
Sheet = Annotated[Path, typer.Option(help="slide sheet (CSV)")]
Classes = Annotated[str, typer.Option(help="class names in the order of their index, comma between")]
Absolute = Annotated[bool, typer.Option("--allow-absolute", help="take absolute paths in the sheet")]
Timeout = Annotated[float, typer.Option(min=0, help="seconds that reading a slide may stand still")]
Threads = Annotated[int, typer.Option(min=0, help="CPU threads; 0: all")]


@app.callback()
def common(
    log_file: Annotated[Path | None, typer.Option("--log", help="write what happens to this file too")] = None,
) -> None:
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if log_file:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(log_file, mode="w", encoding="utf-8"))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", handlers=handlers)


@app.command()
def segment(
    sheet: Sheet,
    out: Annotated[Path, typer.Option(help="folder for masks, outlines and polygons")],
    status: StatusOut,
    root: Annotated[Path | None, typer.Option(help="folder of the sheet's paths; the sheet's own by default")] = None,
    batch: Annotated[int, typer.Option(min=0, help="which batch of the sheet's rows")] = 0,
    batch_size: Annotated[int, typer.Option(min=1, help="rows a batch; all by default")] = sys.maxsize,
    tissue: Text = "{}",
    allow_absolute: Absolute = False,
    timeout: Timeout = 600,
    threads: Annotated[int, typer.Option(min=1, help="slides in hand at once")] = 1,
) -> None:
    """Find the tissue of each slide of a batch."""
    from roformermil.isolation import isolated
    from roformermil.sheet import read_sheet
    from roformermil.slides.stages import segment_slide, settings_of
    from roformermil.status import from_sheet, run_stage, write_status

    settings = read_settings(Tissue, tissue, "--tissue")
    slides = read_sheet(sheet, root or sheet.parent, allow_absolute=allow_absolute)
    rows = from_sheet(slides[batch * batch_size : (batch + 1) * batch_size])
    if not rows:
        raise typer.BadParameter(f"{sheet} has no batch {batch} of {batch_size} rows")
    for row in rows:
        settings_of(row, settings)  # a slide's own settings that do not go together end this before it begins

    def work(row: "Status") -> dict[str, Any]:
        return isolated(segment_slide, row, out, settings, timeout=timeout)

    write_status(status, run_stage("segment", rows, work, threads))


@app.command()
def tile(
    slides: StatusIn,
    masks: Annotated[Path, typer.Option(help="folder that `segment` wrote")],
    out: Annotated[Path, typer.Option(help="folder for tile tables")],
    status: StatusOut,
    tiles: Text = "{}",
    timeout: Timeout = 600,
) -> None:
    """Lay the grid of tiles over each segmented slide of a batch."""
    from roformermil.isolation import isolated
    from roformermil.slides.stages import tile_slide
    from roformermil.status import read_status, run_stage, write_status

    settings = read_settings(Tiles, tiles, "--tiles")

    def work(row: "Status") -> dict[str, Any]:
        return isolated(tile_slide, row, masks, out, settings, timeout=timeout)

    write_status(status, run_stage("tile", read_status(slides), work))


@app.command()
def embed(
    slides: StatusIn,
    tables: Annotated[Path, typer.Option(help="folder that `tile` wrote")],
    out: Annotated[Path, typer.Option(help="folder for feature stores")],
    status: StatusOut,
    encoder: Text = "{}",
    timeout: Timeout = 600,
    threads: Threads = 0,
    profile: Annotated[bool, typer.Option("--profile", help="say at the end what bounds the run")] = False,
) -> None:
    """Encode the tiles of each slide of a batch into a feature store."""
    from roformermil.features.extract import Embedder
    from roformermil.status import read_status, write_status

    _use_threads(threads)
    embedder = Embedder(read_settings(Encoder, encoder, "--encoder"), timeout)
    write_status(status, embedder.embed(read_status(slides), tables, out))
    if profile:
        typer.echo(embedder.profile.table())


@app.command()
def collect(
    batches: Annotated[list[Path], typer.Argument(help="status tables of `embed`")],
    out: Annotated[Path, typer.Option(help="the data set's slides.csv")],
    max_failed_fraction: Annotated[float, typer.Option(min=0, max=1)] = 0.05,
) -> None:
    """Join a data set's status tables; stop when too many slides are missing."""
    from roformermil.status import attrition, check_attrition, read_status, write_slides

    rows = [row for batch in batches for row in read_status(batch)]
    log.info("%s: %s", out.parent.name, attrition(rows))
    check_attrition(rows, max_failed_fraction, out)
    write_slides(out, rows)


@app.command()
def split(
    sheet: Sheet,
    slides: Annotated[Path, typer.Option(help="the data set's slides.csv")],
    out: Annotated[Path, typer.Option(help="folds.csv to write")],
    classes: Classes,
    root: Annotated[Path | None, typer.Option(help="folder of the sheet's paths; the sheet's own by default")] = None,
    allow_absolute: Absolute = False,
    folds: Text = "{}",
) -> None:
    """Divide the usable slides into folds."""
    from roformermil.bags.folds import divide, write_folds
    from roformermil.sheet import read_sheet
    from roformermil.status import OK, read_status

    settings = read_settings(Folds, folds, "--folds")
    usable = {row.slide_id for row in read_status(slides) if row.status == OK}
    names = classes.split(",")
    slides_of_sheet = read_sheet(sheet, root or sheet.parent, names, allow_absolute)
    rows = [slide for slide in slides_of_sheet if slide.slide_id in usable]
    write_folds(out, divide(out.parent.name, rows, settings, names))


@app.command()
def train(
    folds: Annotated[Path, typer.Option(help="folds.csv", exists=True)],
    fold: Annotated[int, typer.Option(min=0)],
    features: Annotated[Path, typer.Option(help="folder of feature stores", exists=True)],
    classes: Classes,
    model: Annotated[str, typer.Option(help="a model's settings as in the config, at least {name: ...}")],
    out: Annotated[Path, typer.Option(help="folder for the model, its history and its predictions")],
    dataset: Annotated[str, typer.Option(help="the data set's name; seeds derive from it")] = "dataset",
    training: Text = "{}",
    threads: Threads = 0,
) -> None:
    """Train one fold of one model and predict its slides."""
    from roformermil.bags.folds import read_folds
    from roformermil.training import Job, train_fold

    _use_threads(threads)
    job = Job(
        dataset, fold, read_folds(folds, fold), features, classes.split(","),
        read_settings(Model, model, "--model"), read_settings(Training, training, "--training"),
    )  # fmt: skip
    train_fold(job, out)


@app.command()
def evaluate(
    predictions: Annotated[list[Path], typer.Argument(help="predictions.csv of every fold")],
    slides: Annotated[list[Path], typer.Option(help="slides.csv of every data set")],
    out: Annotated[Path, typer.Option(help="folder for metrics.csv, summary.csv and summary.md")],
) -> None:
    """Compute every metric from the folds' predictions and write the tables."""
    from roformermil.evaluation.summary import evaluate as write_tables

    write_tables(predictions, slides, out)


@app.command()
def ablation(
    predictions: Annotated[list[Path], typer.Argument(help="predictions.csv of every fold of every arm")],
    arms: Annotated[str, typer.Option(help="JSON list of [axis, name, model's id]")],
    base: Annotated[str, typer.Option(help="id of the model that was varied")],
    tiles: Annotated[list[Path], typer.Option(help="results/{dataset}/tiles of every data set")],
    out: Annotated[Path, typer.Option(help="folder for ablation.csv, ablation.md and ablation.png")],
) -> None:
    """Compare the arms of an ablation on their shared folds."""
    from roformermil.studies.ablation import ArmName, ablate

    ablate(predictions, [ArmName(*arm) for arm in json.loads(arms)], base, {f.parent.name: f for f in tiles}, out)


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

    _use_threads(threads)
    settings = read_settings(Overhead, overhead, "--overhead")
    measure_model(read_settings(Model, model, "--model"), tiles, in_dim, settings, out)


@app.command()
def overhead(
    cells: Annotated[list[Path], typer.Argument(help="tables that `measure` wrote")],
    out: Annotated[Path, typer.Option(help="folder for overhead.csv, overhead.md and overhead.png")],
) -> None:
    """Join measurements into a table and a figure."""
    from roformermil.studies.overhead import summarise

    summarise(cells, out)


@app.command()
def demo_slides(
    folder: Annotated[Path, typer.Argument(help="where the slides and their sheet go")],
    slides: Annotated[int, typer.Option(min=2, help="number of slides, two a patient")] = 24,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Make the demo's slides and slide sheet."""
    from roformermil.demo import write_demo

    log.info("%d slides listed in %s", slides, write_demo(folder, slides, seed))


@app.command()
def check(config: Annotated[Path, typer.Argument(help="configuration file")]) -> None:
    """Check a configuration, its slide sheets, folds and weights, and that each slide opens and has a scale."""
    from roformermil.bags.folds import divide
    from roformermil.isolation import isolated
    from roformermil.sheet import read_sheet
    from roformermil.slides.stages import open_slide
    from roformermil.status import attrition, from_sheet, run_stage
    from roformermil.studies.arms import arms

    settings = load_config(config)
    arms(settings)
    if (weights := settings.encoder.weights_path) and not Path(weights).is_file():
        raise ConfigError(f"{config}: encoder.weights: no file at {weights}")
    wrong = []
    for name, dataset in settings.datasets.items():
        try:
            slides = read_sheet(dataset.slides, dataset.root, dataset.classes, dataset.allow_absolute)
            rows = run_stage("check", from_sheet(slides), partial(isolated, open_slide, timeout=settings.slide_timeout))
            log.info("%s: %s of %d patients", name, attrition(rows), len({s.patient_id for s in slides}))
            divide(name, slides, settings.folds, dataset.classes)
        except RoFormerMILError as error:  # the next data set may have a fault of its own to show
            log.error("%s: %s", name, error)
            wrong.append(name)
    if wrong:
        raise ConfigError(f"{config}: {', '.join(wrong)} cannot be run as it is")


@app.command("schema")
def print_schema(
    markdown: Annotated[bool, typer.Option("--markdown", help="tables for people instead")] = False,
) -> None:
    """Print the JSON schema of the configuration."""
    from roformermil.schema import reference, schema

    typer.echo(reference() if markdown else schema(), nl=False)


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def _use_threads(threads: int) -> None:
    import torch

    if threads:
        torch.set_num_threads(threads)


def main() -> None:
    """Entry point: errors that have a name end in one line, not in a traceback."""
    try:
        app()
    except RoFormerMILError as error:
        log.error("%s", error)
        sys.exit(1)
    except Exception:
        log.exception("unexpected error")  # with its traceback, in the log file too
        sys.exit(2)
