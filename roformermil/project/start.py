"""Snakemake's command, which Ctrl-C ends in one line while it is still being imported: `python -m roformermil.project.start`.

Once the workflow is read, run_log.py tells what happened.
"""

import sys
from typing import Any

STOPPED = "Stopped by Ctrl-C."


def hide_traceback_of_interrupts() -> None:
    """Have Python print one line for Ctrl-C instead of a traceback."""
    print_error = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if issubclass(kind, KeyboardInterrupt):
            print(f"\n{STOPPED}", file=sys.stderr, flush=True)
        else:
            print_error(kind, error, trace)

    sys.excepthook = hook


if __name__ == "__main__":
    hide_traceback_of_interrupts()
    from snakemake.cli import main

    main()
