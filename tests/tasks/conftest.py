"""The evaluation fixture that metrics are tested with."""

from tests.evaluation.conftest import simulate  # noqa: F401
