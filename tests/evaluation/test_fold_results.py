from pathlib import Path

import pytest

from roformermil.errors import ModelError
from roformermil.evaluation.fold_results import FoldResult, fold_folder


@pytest.mark.parametrize(
    ("folder", "fold", "seed"), [("fold_3", 3, None), ("fold_12_seed_2", 12, 2), ("fold_0_seed_-1", 0, -1)]
)
def test_the_folder_names_fold_and_seed(folder, fold, seed):
    result = FoldResult.at(Path("results/set/net/m") / folder / "predictions.csv")
    assert (*result.key, result.fold, result.seed) == ("set", "net", "m", fold, seed)
    assert fold_folder(fold, seed) == folder


@pytest.mark.parametrize("folder", ["fold_", "fold_0_seed_", "fold_0_copy", "old_fold_0"])
def test_other_folders_are_refused(folder):
    with pytest.raises(ModelError, match=f"{folder}/predictions.csv: its folder is not named fold_0"):
        FoldResult.at(Path("set/net/m") / folder / "predictions.csv")
