"""Predictions of other slides with a packaged model."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from roformermil.cli import options
from roformermil.cohort.slide_sheet import parse_mpp
from roformermil.config import SLIDE_TIMEOUT
from roformermil.errors import Status
from roformermil.runtime.locks import exclusive

app = typer.Typer()
log = logging.getLogger("roformermil")
SLIDES = "slide files, folders of slides, slide sheets (.csv with slide_id, path), or feature stores (.zarr)"
EXAMPLE = (
    "Example: roformermil predict new_slides/ other.svs --model results/demo/resnet50-random/ro-abmil/model\n\n"
    "Settings are those of the model's training: tissue.*, tiles.* and encoder.* in its model.json. Per slide, the slide "
    "sheet's columns mpp (um/px) and tissue (keys of tissue.*) override them. More: docs/prediction.md"
)
MPP = typer.Option(
    parser=lambda text: parse_mpp(text, f"--mpp {text!r}"),
    metavar="FLOAT",
    help="um/px of slides that do not state a usable resolution; others keep theirs",
)


@app.command(epilog=EXAMPLE)
def predict(
    slides: Annotated[list[Path], typer.Argument(help=SLIDES)],
    model: Annotated[Path, typer.Option(help="a packaged model: results/DATASET/ENCODER/MODEL/model")],
    out: Annotated[Path, typer.Option(help="folder for predictions.csv and heatmaps/")] = Path("predictions"),
    weights: Annotated[Path | None, typer.Option(help="weights of the encoder, if the training lab's own")] = None,
    tissue_weights: Annotated[Path | None, typer.Option(help="weights of the tissue segmentation, likewise")] = None,
    mpp: Annotated[float | None, MPP] = None,
    heatmaps: Annotated[bool, typer.Option(help="draw a heat map of each slide file")] = True,
    geojson: Annotated[
        bool, typer.Option("--geojson", help="write each slide file's tiles for QuPath, also with --no-heatmaps")
    ] = False,
    timeout: options.Timeout = SLIDE_TIMEOUT,
    threads: options.Threads = 0,
    shuffle_positions: Annotated[
        bool, typer.Option("--shuffle-positions", help="also predict each slide with its tiles' positions shuffled")
    ] = False,
) -> None:
    """Predict slides with a packaged model: from files and folders of slides to a table and heat maps, and to metrics where a
    slide sheet has labels."""
    from roformermil.deployment.evaluation import describe_evaluation, evaluate_predictions
    from roformermil.deployment.model_card import read_card
    from roformermil.deployment.predict import predict as predict_slides
    from roformermil.deployment.prediction_text import describe_predictions

    options.use_machine(threads)
    given = (slides, model, out, weights, tissue_weights, mpp, heatmaps, timeout)
    try:
        with exclusive(out / "predictions.csv"):
            rows = predict_slides(*given, shuffle_positions=shuffle_positions, geojson=geojson)
            evaluation = evaluate_predictions(out, card := read_card(model))
    except KeyboardInterrupt:
        log.error("stopped; the same command resumes: slides encoded so far are kept in %s", out.absolute())
        raise typer.Exit(130) from None
    column = "" if card.classes else card.predicted.columns[0]
    typer.echo(describe_predictions(rows, out, describe_evaluation(evaluation, card) if evaluation else "", column))
    if all(row["status"] != Status.OK for row in rows):
        raise typer.Exit(1)
