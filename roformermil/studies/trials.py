"""Trials: trainings of a fold without its test slides, one per setting of a search, and the choice among them."""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from roformermil.bags.folds import FoldRow
from roformermil.config import Config, Model, Training
from roformermil.config.base import read_settings
from roformermil.errors import ModelError
from roformermil.evaluation.consistency import compare_rows, compare_settings, reasons_to_train_again
from roformermil.evaluation.fold_results import TRIAL_FILE, VALIDATION_FILE, FoldResult, configured_settings
from roformermil.runtime.files import file_sha256, write_text
from roformermil.studies.search_space import Setting


class Trial(FoldResult):
    """A trial's files. `path` is its validation.csv."""

    @classmethod
    def at(cls, path: Path) -> "Trial":
        """The trial at `.../{dataset}/{encoder}/{model}/search/fold_{k}/{setting}/trial.json`."""
        *_, dataset, encoder, model, _, folder, _, _ = path.absolute().parts
        return cls(dataset, encoder, model, int(folder.removeprefix("fold_")), path.with_name(VALIDATION_FILE))

    @property
    def model_file(self) -> Path:
        """The file with the metadata of the model, which was not kept."""
        return self.path.with_name(TRIAL_FILE)

    @property
    def setting(self) -> str:
        """The name of what it tried."""
        return self.path.parent.name

    @cached_property
    def metadata(self) -> dict[str, str]:
        """What trial.json tells of the training. Raises ModelError."""
        try:
            return json.loads(self.model_file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ModelError(f"{self.model_file.absolute()}: the trial is missing or damaged ({error})") from error

    def scores(self) -> dict[str, float]:
        """The mean log loss and the AUROC of its validation slides. Raises ModelError for predictions that were edited."""
        from sklearn.metrics import log_loss  # slow to import, as pandas: Snakemake's planning needs neither

        from roformermil.evaluation.predictions import read_table, targets_and_predictions

        if self.metadata["validation"] != file_sha256(self.path):
            problem = "not what the model predicted after training"
            raise ModelError(f"{self.path.absolute()}: {problem}; delete its folder and run again")
        labels, probabilities = targets_and_predictions(read_table(self.path), self.task)
        loss = log_loss(labels, probabilities, labels=range(len(self.classes)))
        return {"loss": float(loss), "auroc": self.task.compute_metrics(labels, probabilities)["auroc"]}


def compare_trial(trial: Trial, config: Config, setting: Setting) -> list[str]:
    """A line for each setting with which a trial was not trained as the configuration wants it."""
    expected = configured_settings(config, trial.dataset, setting.model, None, {setting.model.id: setting.training})
    return compare_settings(trial.settings, expected)


def check_trials(trials: Sequence[Trial], config: Config, settings: Mapping[str, Setting], rows: list[FoldRow]) -> None:
    """Raises ModelError for trials of a fold with other settings or slides. rows: the fold's in folds.csv."""
    seen = [row for row in rows if row.part != "test"]
    for trial in trials:
        if differs := [*compare_trial(trial, config, settings[trial.setting]), *compare_rows(trial, seen)]:
            raise ModelError(f"{trial.model_file.absolute()}: {'; '.join(differs)}; delete its folder and run again")


def reasons_to_try_again(trial_file: Path, config: Config, settings: Mapping[str, Setting]) -> list[str]:
    """A sentence if a trial was made with other settings; none where it was not made yet. settings: by name."""
    if not trial_file.exists():
        return []
    trial = Trial.at(trial_file)
    try:
        differs = compare_trial(trial, config, settings[trial.setting])
    except ModelError as error:
        differs = [str(error)]
    return [f"{trial.model}: {'; '.join(differs)}: will be tried again"] if differs else []


def choose_setting(scores: Mapping[str, Mapping[str, float]], score: str) -> str:
    """The name of the best setting: that of the lowest loss, or of the highest AUROC and among equal ones the lowest loss. Of equal
    settings the first. scores: as of `Trial.scores`, by name. Raises ModelError where a score is undefined."""
    if undefined := [name for name, values in scores.items() if not np.isfinite(values[score])]:
        problem = f"the validation {score} of setting {undefined[0]} is undefined"
        raise ModelError(f"{problem}; with search.score: loss it needs no slides of every class")
    ranks = {
        name: (values["loss"],) if score == "loss" else (-values["auroc"], values["loss"])
        for name, values in scores.items()
    }
    return min(ranks, key=ranks.__getitem__)


def write_choice(trials: Sequence[Path], score: str, out: Path) -> str:
    """Choose among the trials of a fold, and write the name, model and training of the best setting to `out`; returns its name.

    trials: their trial.json, in the order of the settings; score: as `search.score`.
    """
    read = {trial.setting: trial for trial in map(Trial.at, trials)}
    name = choose_setting({setting: trial.scores() for setting, trial in read.items()}, score)
    model, training = (json.loads(read[name].metadata[section]) for section in ("model", "training"))
    chosen = {"setting": name, "model": model, "training": Training(**training).deciding_values()}
    write_text(out, json.dumps(chosen, indent=1) + "\n")
    return name


def read_choice(path: Path, model: Model, training: Training) -> tuple[str, Model, Training]:
    """The name, model and training that `write_choice` wrote, with the id, the seed and whatever changes no result of those
    given. Raises ModelError."""
    try:
        chosen = json.loads(path.read_text(encoding="utf-8"))
        name, of_model, of_training = (chosen[key] for key in ("setting", "model", "training"))
        decided = training.model_dump() | of_training | {"seed": training.seed}
        chosen_model = read_settings(Model, of_model | {"id": model.id}, str(path))
        return name, chosen_model, read_settings(Training, decided, str(path))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path.absolute()}: the choice is missing or damaged ({error!r})") from error


def reasons_to_train_chosen_again(model_file: Path, config: Config, model: Model, choice: Path) -> list[str]:
    """A sentence if a fold was trained with other settings than those chosen; none where nothing was chosen or trained yet.

    model: with the id that chosen settings are trained under.
    """
    if not (model_file.exists() and choice.exists()):
        return []
    try:
        _, chosen, training = read_choice(choice, model, config.training)
    except ModelError as error:
        return [str(error)]
    return reasons_to_train_again(model_file, config, {model.id: chosen}, {model.id: training})


def reasons_to_search_again(provenance: Path, config: Config) -> list[str]:
    """A sentence if the tables of a search are of other settings of section Search; none where nothing was searched yet.

    provenance: search_provenance.json beside them.
    """
    if not provenance.exists():
        return []
    try:
        before = json.loads(provenance.read_text(encoding="utf-8"))["config"]["search"]
    except (ValueError, KeyError, TypeError) as error:
        return [f"{provenance}: damaged ({error!r})"]
    return (
        [] if before == config.search.model_dump(mode="json") else ["its search had other settings of section Search"]
    )
