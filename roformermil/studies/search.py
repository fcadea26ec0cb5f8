"""The search's tables: every trial, and what the chosen settings reach on test slides beside the default, for the same patients."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from roformermil.bags.folds import FoldRow, read_folds
from roformermil.config import Config, Model
from roformermil.config.base import read_settings
from roformermil.config.training import run_names
from roformermil.errors import ModelError
from roformermil.evaluation.consistency import read_results
from roformermil.evaluation.fold_results import TRIAL_FILE, FoldResult
from roformermil.evaluation.intervals import Values, degrees_of_freedom, jackknife_interval, leave_patients_out
from roformermil.evaluation.notes import dataset_notes
from roformermil.evaluation.predictions import OutOfFold, out_of_fold, read_table
from roformermil.report.plots import save_plot
from roformermil.runtime.files import write_text
from roformermil.runtime.provenance import write_provenance
from roformermil.studies.search_plot import plot_search
from roformermil.studies.search_space import DEFAULT, Setting, check_searches, list_searches, searched_id
from roformermil.studies.search_text import search_text
from roformermil.studies.trials import Trial, check_trials, choose_setting, read_choice
from roformermil.tasks.class_metrics import weighted_metrics

CHOSEN = "chosen"
LOG_LOSS = "log_loss"
COLUMNS = ["dataset", "encoder", "model", "setting", "metric", "validation", "mean", "ci_low", "ci_high"]
COLUMNS += [
    "optimism",
    "optimism_low",
    "optimism_high",
    "default_difference",
    "default_low",
    "default_high",
    "folds",
    "seeds",
]


def write_search(out: Path, config: str) -> None:
    """Write `search.csv`, `search_trials.csv`, `search.md`, `search.png` and `search_provenance.json` into `out`, the folder of
    results. config: the configuration as JSON.

    Raises ModelError for trials and folds that are not of this configuration and these slides, and ConfigError without a space.
    """
    settings = read_settings(Config, config, "--config")
    searches = list_searches(settings)
    check_searches(searches)
    trials, tables = [], []
    notes: dict[tuple[str, str], list[str]] = {}
    for dataset in settings.search_datasets:
        for model in settings.search_models:
            tried, choices = read_search(out, settings, dataset, model, searches[model.id])
            trials.append(tried)
            default, chosen = read_models(out, settings, dataset, model, choices)
            tables.append(compare_with_default(default, chosen, settings.training.seed))
            of_groups = dataset_notes(out_of_fold(default), [out / dataset])
            notes |= {group: of_group.lines for group, of_group in of_groups.items()}
    table, tried = (pd.concat(parts, ignore_index=True) for parts in (tables, trials))
    write_text(out / "search.csv", table.to_csv(index=False, lineterminator="\n"))
    write_text(out / "search_trials.csv", tried.to_csv(index=False, lineterminator="\n"))
    write_text(out / "search.md", search_text(table, tried, settings.search.score, notes))
    save_plot(plot_search(table, tried, settings.search.score), out / "search.png")
    write_provenance(out / "search_provenance.json", config)


def read_search(
    out: Path, config: Config, dataset: str, model: Model, settings: dict[str, Setting]
) -> tuple[pd.DataFrame, dict[int, Path]]:
    """The trials of a model, a row each in the order of their folds and settings, and the file of each fold's choice.

    Columns: dataset, encoder, model, fold, trial (counted from 1), setting, loss and auroc of the validation slides, winner (the
    best setting up to this trial), chosen (whether it is the best of all), epochs. Raises ModelError.
    """
    key, rows, choices = (dataset, config.encoder.id, model.id), [], {}
    for fold, slides in _rows_by_fold(out / dataset / "folds.csv").items():
        folder = out.joinpath(*key, "search", f"fold_{fold}")
        trials = [Trial.at(folder / name / TRIAL_FILE) for name in settings]
        check_trials(trials, config, settings, slides)
        scores = {trial.setting: trial.scores() for trial in trials}
        winners = [choose_setting(dict(list(scores.items())[: k + 1]), config.search.score) for k in range(len(scores))]
        choices[fold] = folder / "chosen.json"
        if read_choice(choices[fold], model, config.training)[0] != winners[-1]:
            raise ModelError(f"{choices[fold].absolute()}: not the best of these trials; delete it and run again")
        for number, (trial, winner) in enumerate(zip(trials, winners, strict=True), 1):
            epochs = len(read_table(trial.path.with_name("history.csv")))
            line = (
                number,
                trial.setting,
                *scores[trial.setting].values(),
                winner,
                trial.setting == winners[-1],
                epochs,
            )
            rows.append((*key, fold, *line))
    columns = ["dataset", "encoder", "model", "fold", "trial", "setting", "loss", "auroc", "winner", "chosen", "epochs"]
    return pd.DataFrame(rows, columns=columns), choices


def _rows_by_fold(folds: Path) -> dict[int, list[FoldRow]]:
    rows: dict[int, list[FoldRow]] = {}
    for row in read_folds(folds):
        rows.setdefault(row.fold, []).append(row)
    return dict(sorted(rows.items()))


def read_models(
    out: Path, config: Config, dataset: str, model: Model, choices: dict[int, Path]
) -> tuple[list[FoldResult], list[FoldResult]]:
    """The folds of a model as it is configured, and those trained with what each fold chose. Raises ModelError."""
    folders, searched = [out / dataset], model.model_copy(update={"id": searched_id(model)})
    default = read_results(_predictions(out, config, dataset, model.id, choices), folders, config, [model])
    chosen = []
    for fold, choice in choices.items():  # each fold has settings of its own
        _, of_fold, training = read_choice(choice, searched, config.training)
        paths = _predictions(out, config, dataset, searched.id, [fold])
        chosen += read_results(paths, folders, config, [of_fold], {of_fold.id: training})
    return default, chosen


def _predictions(out: Path, config: Config, dataset: str, model: str, folds: Iterable[int]) -> list[Path]:
    folder = out / dataset / config.encoder.id / model
    return [folder / f"fold_{name}" / "predictions.csv" for name in run_names(folds, config.training)]


def compare_with_default(default: list[FoldResult], chosen: list[FoldResult], seed: int) -> pd.DataFrame:
    """The rows of search.csv of a model, for the default and the chosen settings: each metric on validation slides, on test slides,
    the difference between these two (`optimism`) and that between the settings on test slides, with intervals over patients.

    seed: of the trials, whose validation slides count; on test slides, values are means over all seeds.
    """
    (default_tests,), (chosen_tests,) = out_of_fold(default), out_of_fold(chosen)
    baseline, rows = leave_patients_out(default_tests, search_metrics), []
    for setting, results, tests in ((DEFAULT, default, default_tests), (CHOSEN, chosen, chosen_tests)):
        validation = out_of_fold(results, "validation")[0]
        validation = validation.select(validation.seeds == seed)
        left_out, degrees = leave_patients_out(tests, search_metrics), degrees_of_freedom(tests)
        optimism, patients = subtract_by_patient(validation, tests)
        for metric, values in left_out.items():
            most = np.inf if metric == LOG_LOSS else 1.0
            difference = values - baseline[metric]
            cells = [*default_tests.key, setting, metric, optimism[metric][0] + values[0], values[0]]
            cells += [*jackknife_interval(values, degrees, bounds=(0, most))]
            degrees_of_both = max(1, patients - (tests.folds_per_repeat or tests.fold_count))
            of_both = jackknife_interval(optimism[metric], degrees_of_both, bounds=(-most, most))
            cells += [optimism[metric][0], *of_both]
            cells += [difference[0], *jackknife_interval(difference, degrees, bounds=(-most, most))]
            rows.append((*cells, tests.fold_count, tests.seed_count))
    return pd.DataFrame(rows, columns=COLUMNS)


def search_metrics(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> Values:
    """The metrics of the tables, and the mean log loss: (R,) each, for weights (R, n)."""
    of_label = np.take_along_axis(probabilities, labels[:, None], axis=1)[:, 0]
    losses = -np.log(np.clip(of_label, np.finfo(float).eps, 1))  # clipped as scikit-learn does
    total = weights.sum(axis=1)
    log_loss = np.divide(weights @ losses, total, out=np.full(len(weights), np.nan), where=total > 0)
    return weighted_metrics(labels, probabilities, weights) | {LOG_LOSS: log_loss}


def subtract_by_patient(first: OutOfFold, second: OutOfFold) -> tuple[Values, int]:
    """Each metric of `first` less that of `second`, of all patients and then without each of the I patients of either: (1 + I,);
    and I. A patient of both is left out of both."""
    patients = np.union1d(first.patients, second.patients)
    one, other = (_expand(model, patients) for model in (first, second))
    return {metric: one[metric] - other[metric] for metric in one}, len(patients)


def _expand(model: OutOfFold, patients: np.ndarray) -> Values:
    """As `leave_patients_out`, of these patients: without one who has no slide here, a value is that of all."""
    own = np.unique(model.patients)
    rows = np.where(np.isin(patients, own), 1 + np.searchsorted(own, patients), 0)
    return {name: values[np.append(0, rows)] for name, values in leave_patients_out(model, search_metrics).items()}
