"""The views of a folder of results."""

from pathlib import Path

from roformermil.errors import ConfigError
from roformermil.viewer.predicted import is_predicted, predicted_view
from roformermil.viewer.trained import dataset_views, is_dataset
from roformermil.viewer.views import View


def find_views(folder: Path, root: Path | None = None) -> list[View]:
    """The views of a run's results, of one of its data sets, or of a folder that `predict` wrote.

    root: the folder that the paths of slides are relative to, where that cannot be found (`path_finder`). Raises
    ConfigError for any other folder.
    """
    if not folder.is_dir():
        raise ConfigError(f"no folder at {folder.absolute()}")
    if is_predicted(folder):
        return [predicted_view(folder, root)]
    datasets = [folder] if is_dataset(folder) else sorted(child for child in folder.iterdir() if is_dataset(child))
    if not datasets:
        wanted = "results of a run (results/mine), one of its data sets (results/mine/NAME), or what `predict` wrote"
        raise ConfigError(f"{folder.absolute()} has no slides to show. Give the folder of {wanted}")
    return [view for dataset in datasets for view in dataset_views(dataset, root)]
