"""Snakemake's command, which Ctrl-C ends in one line while it is still being imported: `python -m roformermil.project.start`.

Once the workflow is read, run_log.py tells what happened.
"""

import sys
from collections.abc import Callable
from typing import Any

STOPPED = "Stopped by Ctrl-C."


def hide_traceback_of_interrupts(is_told: Callable[[], bool] = lambda: False) -> None:
    """Have Python print one line for Ctrl-C instead of a traceback, or nothing where `is_told()`."""
    print_error = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            print_error(kind, error, trace)
        elif not is_told():
            print(f"\n{STOPPED}", file=sys.stderr, flush=True)

    sys.excepthook = hook


if __name__ == "__main__":
    hide_traceback_of_interrupts()
    from snakemake.cli import main

    main()
