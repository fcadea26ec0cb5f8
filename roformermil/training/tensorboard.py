"""The metrics of each epoch for TensorBoard."""

from pathlib import Path
from typing import Any

from roformermil.errors import ConfigError
from roformermil.runtime.files import remove


class TensorBoard:
    """Event files in `tensorboard` of a fold's folder, with a scalar for each column of history.csv."""

    def __init__(self, out: Path, history: list[dict[str, Any]]):
        """history: the epochs before an interruption. Raises ConfigError where TensorBoard is not installed."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigError("training.tensorboard: TensorBoard is not installed: pip install tensorboard") from error
        remove(out / "tensorboard")  # from another run
        self.writer = SummaryWriter(out / "tensorboard")
        for row in history:
            self.add(row)

    def add(self, row: dict[str, Any]) -> None:
        """Write the metrics of an epoch."""
        for name, value in row.items():
            if name != "epoch":
                self.writer.add_scalar(name, value, row["epoch"])
        self.writer.flush()
