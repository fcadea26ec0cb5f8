"""What is predicted."""

from typing import Literal

TaskName = Literal["classification", "survival", "regression"]
