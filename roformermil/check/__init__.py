"""What `roformermil check` finds before hours of computing; `check_plan` is also what Snakemake checks while it plans.

Names are loaded when they are used: `check_plan` needs neither pandas nor image libraries.
"""

from typing import TYPE_CHECKING, Any

from roformermil.check.plan import check_plan
from roformermil.check.problems import Level, Problem

if TYPE_CHECKING:
    from roformermil.check.report import CheckReport, check_config, check_file

__all__ = ["CheckReport", "Level", "Problem", "check_config", "check_file", "check_plan"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from roformermil.check import report

    return getattr(report, name)
