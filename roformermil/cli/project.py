"""What stands beside the pipeline."""

import logging
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from roformermil import __version__
from roformermil.config import load_config
from roformermil.config.encoder_specs import encoder_spec
from roformermil.errors import ConfigError, LeakError, RoFormerMILError

app = typer.Typer()
log = logging.getLogger("roformermil")


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
    """Check a configuration, its slide sheets, folds and weights, that each slide opens and has a scale, and look for leaks."""
    from roformermil.bags.audit import audit, refusal
    from roformermil.bags.folds import divide
    from roformermil.files import content_id
    from roformermil.isolation import isolated
    from roformermil.sheet import doubts, read_sheet
    from roformermil.slides.stages import open_slide, settings_of
    from roformermil.status import OK, attrition, from_sheet, run_stage
    from roformermil.studies.arms import arms

    settings = load_config(config)
    arms(settings)
    if settings.tissue.needs_tiatoolbox and not find_spec("tiatoolbox"):
        log.warning("tissue.method %s: not installed here, see `make tiatoolbox`", settings.tissue.method)
    if encoder_spec(settings.encoder.name).architecture and not find_spec("timm"):
        log.warning(
            "encoder %s: timm is not installed here, where `snakemake` will need it: `make tiatoolbox`",
            settings.encoder.name,
        )
    if settings.encoder.is_imported:
        from roformermil.features.exchange import open_features
    if (weights := settings.encoder.weights_path) and not Path(weights).is_file():
        raise ConfigError(f"{config}: encoder.weights: no file at {weights}")
    wrong = []
    for name, dataset in settings.datasets.items():
        try:
            where = (dataset.slides, dataset.root, dataset.classes, dataset.allow_absolute)
            slides = [slide for slide in read_sheet(*where, files=not dataset.source) if not slide.exclude]
            absent = sum(not Path(slide.path).exists() for slide in slides)
            if absent:  # of a data set with a source: the others are errors above
                log.warning("%s: %d of %d slides are not here yet: snakemake download", name, absent, len(slides))
                continue
            for row in from_sheet(slides):
                settings_of(row, settings.tissue)
            look = open_features if settings.encoder.is_imported else open_slide
            rows = run_stage("check", from_sheet(slides), partial(isolated, look, timeout=settings.slide_timeout))
            usable = [slide for slide, row in zip(slides, rows, strict=True) if row.status == OK]
            for line in doubts(usable):
                log.warning("%s: %s", name, line)
            log.info("%s: %s; %d patients in use", name, attrition(rows), len({s.patient_id for s in usable}))
            lost, allowed = len(rows) - len(usable), settings.max_failed_fraction
            if lost > allowed * len(rows):
                raise ConfigError(
                    f"{lost / len(rows):.0%} of its slides are lost, max_failed_fraction allows {allowed:.0%}"
                )
            folds = divide(name, usable, settings.folds, dataset.classes)
            known = [replace(row, content=content_id(Path(row.path))) for row in rows if row.status == OK]
            if why := refusal(audit(folds, usable, known), settings.audit, settings.folds):
                raise LeakError(why)
        except RoFormerMILError as error:  # the next data set may have a fault of its own to show
            log.error("%s: %s", name, error)
            wrong.append(name)
    if wrong:
        raise ConfigError(f"{config}: not to be run as it is, see above: {', '.join(wrong)}")
    log.info("no fault found; go on with: snakemake --cores all --configfile %s", config)


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
