"""Slides of a run in the browser."""

import logging
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from roformermil.errors import ConfigError
from roformermil.runtime.text import plural

app = typer.Typer()
log = logging.getLogger("roformermil")
PORT = 8790
EXAMPLES = """Examples: `roformermil view results/mine`, `roformermil view predictions`, and on a machine that you reach with
`ssh -L 8790:localhost:8790 MACHINE`: `roformermil view results/mine --no-browser`, then open the printed address here.

Settings that decide what it shows: heatmaps.models, datasets.classes (docs/reference.md).
"""


@app.command(epilog=EXAMPLES)
def view(
    folder: Annotated[Path, typer.Argument(help="results of a run, one of its data sets, or what `predict` wrote")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="port on this machine; 0: any that is free")] = PORT,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="open the browser")] = True,
    root: Annotated[
        Path | None,
        typer.Option(help="folder that the slides' paths are relative to, if they are not found", exists=True),
    ] = None,
) -> None:
    """Look at slides in the browser, with attention, contributions, tissue and tiles over them. Changes nothing."""
    from roformermil.viewer.folders import find_views
    from roformermil.viewer.server import ViewerServer

    views = find_views(folder, root)
    try:
        server = ViewerServer(folder, views, port)
    except OSError as error:
        raise ConfigError(f"--port {port}: {error.strerror}; give another, or 0 for any that is free") from error
    slides = sum(len(view.slides) for view in {view.dataset: view for view in views}.values())
    log.info("%s at %s (Ctrl-C ends it)", plural(slides, "slide"), server.url)
    if browser:
        webbrowser.open(server.url)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        log.info("ended")
    finally:
        server.server_close()
