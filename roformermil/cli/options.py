"""What the verbs' options have in common."""

from pathlib import Path
from typing import Annotated

import typer

Text = Annotated[str, typer.Option(help="settings as in the config, YAML or JSON")]
StatusIn = Annotated[Path, typer.Argument(help="status table of the stage before", exists=True, dir_okay=False)]
StatusOut = Annotated[Path, typer.Option(help="status table to write, a row a slide")]
ConfigText = Annotated[str, typer.Option(help="the configuration as JSON, kept in provenance.json")]
Sheet = Annotated[Path, typer.Option(help="slide sheet (CSV)")]
Classes = Annotated[str, typer.Option(help="class names in the order of their index, comma between")]
Root = Annotated[Path | None, typer.Option(help="folder of the sheet's paths; the sheet's own by default")]
Batch = Annotated[int, typer.Option(min=0, help="which batch of the sheet's rows")]
BatchSize = Annotated[int, typer.Option(min=1, show_default="all", help="rows a batch")]
Absolute = Annotated[bool, typer.Option("--allow-absolute", help="take absolute paths in the sheet")]
Timeout = Annotated[float, typer.Option(min=0, help="seconds that reading a slide may stand still")]
Threads = Annotated[int, typer.Option(min=0, help="CPU threads; 0: all")]


def use_machine(threads: int) -> None:
    """Take so many CPU threads, and of several GPUs one."""
    from roformermil.devices import claim_gpu

    claim_gpu()
    import torch  # after the claim

    if threads:
        torch.set_num_threads(threads)
