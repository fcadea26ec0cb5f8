"""Whether folds are what they are taken for: of the configuration's settings and classes, and of the slides and features of now.

Snakemake compares them only where it has a record of them, which a moved results folder lacks.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from roformermil.bags.covariate_table import covariates_digest
from roformermil.bags.folds import FoldRow, read_folds, rows_fingerprint
from roformermil.cohort.covariates import FILE as COVARIATES_FILE
from roformermil.cohort.slide_table import SlideRecord, read_slide_table
from roformermil.config import Config, Model, Training
from roformermil.config.search import SUFFIX
from roformermil.errors import ModelError
from roformermil.evaluation.fold_results import (
    MODEL_FILE,
    SHUFFLED_FILE,
    FoldResult,
    configured_settings,
    read_metadata,
    training_identity,
)
from roformermil.runtime.files import file_sha256
from roformermil.runtime.text import first_lines, join_some

SHOWN_PROBLEMS = 20
Key = tuple[str, str, str]  # data set, encoder, model
Problems = dict[tuple[Path, str], list[str]]  # the trainings of a model (its folder) that have a problem


def read_results(
    predictions: Iterable[Path],
    folders: Sequence[Path] = (),
    config: Config | None = None,
    models: Sequence[Model] = (),
    trainings: Mapping[str, Training] = MappingProxyType({}),
) -> list[FoldResult]:
    """The results at these predictions.csv, each beside its model.safetensors.

    folders: of data sets, with their slides.csv and folds.csv; config, models: what folds were to be trained with. Without
    these, the folds of a model need only be alike, unless each chose its settings. trainings: settings of models that are not trained with those of the
    configuration, by id. Raises ModelError, which names folds and remedy, for folds that were
    trained with other settings or classes, on other slides or features, and for predictions that were edited.
    """
    results = [FoldResult.at(Path(path)) for path in predictions]
    expected = _expected_settings(results, config, models, trainings)
    slides = {folder.name: _slides_of_folder(folder) for folder in folders}
    tables = {folder.name: folder / COVARIATES_FILE for folder in folders}
    problems: Problems = defaultdict(list)
    files = {}
    for result in results:
        files[result.path.parents[1]] = (
            result.path.name if result.is_external else MODEL_FILE
        )  # what the workflow makes
        wanted = expected[result.key, result.seed]
        if result.model.endswith(SUFFIX) and result.model not in {model.id for model in models}:
            wanted = result.settings  # its folds chose theirs
        lines = [*compare_settings(result.settings, wanted), *compare_files(result)]
        if result.dataset in slides:
            rows, records = slides[result.dataset]
            lines += compare_slides(result, rows.get(result.fold, []), records)
            lines += compare_covariates(result, rows.get(result.fold, []), tables[result.dataset])
        for line in lines:
            problems[result.path.parents[1], line].append(result.run)
    if problems:
        raise ModelError(_describe_problems(problems, files))
    return results


def compare_settings(trained: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """A line for each setting that a fold was trained with and that is not the expected one."""
    keys = [key for key in {**trained, **expected} if trained.get(key) != expected.get(key)]
    return [f"trained with {key} {_text(trained.get(key))} instead of {_text(expected.get(key))}" for key in keys]


def compare_files(result: FoldResult) -> list[str]:
    """How a fold's files differ from those that its training wrote there."""
    differs, metadata = [], result.metadata
    dataset = metadata["external"] if result.is_external else metadata["dataset"]
    trained, seed = (dataset, int(metadata["fold"])), result.trained_seed
    if result.is_external and not _is_current(result):
        differs.append(f"predicted by another model than that of {result.trained_on} now")
    if trained != (result.dataset, result.fold) or result.seed not in (None, seed):
        of_seed = "" if result.seed is None else f", seed {seed}"
        differs.append(f"its {MODEL_FILE} is the model of {trained[0]}, fold {trained[1]}{of_seed}")
    if metadata["predictions"] != file_sha256(result.path):
        differs.append("predictions.csv: not what the model predicted after training")
    if not result.shuffled_file.exists():
        differs.append(f"{SHUFFLED_FILE}: is missing")
    elif metadata.get("shuffled") != file_sha256(result.shuffled_file):
        differs.append(f"{SHUFFLED_FILE}: not what the model predicted after training")
    return differs


def _is_current(result: FoldResult) -> bool:
    """Whether the model that predicted external slides is still the one of its fold; also where that is not here."""
    if not result.model_file.exists():
        return True
    return result.metadata["training_identity"] == training_identity(read_metadata(result.model_file))


def compare_rows(result: FoldResult, rows: Sequence[FoldRow]) -> list[str]:
    """Whether a fold was divided otherwise when it was trained. rows: the fold's in folds.csv."""
    return ["folds.csv divides its slides in another way"] if result.metadata["rows"] != rows_fingerprint(rows) else []


def compare_covariates(result: FoldResult, rows: Sequence[FoldRow], table: Path) -> list[str]:
    """Whether a fold's slides had other covariates. rows: of folds.csv; table: covariates.csv."""
    used = result.metadata.get("covariate_values")
    is_same = used is None or (table.exists() and used == covariates_digest(table, rows))
    return [] if is_same else [f"{table.name} has other values than those that the fold used"]


def compare_slides(result: FoldResult, rows: Sequence[FoldRow], records: Mapping[str, SlideRecord]) -> list[str]:
    """How a fold's slides and their features differ from those of now: rows of folds.csv, usable records of slides.csv."""
    differs, features = compare_rows(result, rows), json.loads(result.metadata["features"])
    if unusable := [name for name in features if name not in records]:
        differs.append(f"trained on slides that are not usable according to slides.csv: {join_some(unusable)}")
    now = {name: records[name].fingerprint for name in features if name in records}
    if changed := [name for name in now if now[name] and now[name] != features[name]]:
        differs.append(f"trained on other features of {join_some(changed)}")
    return differs


def reasons_to_train_again(
    model_file: Path,
    config: Config,
    models: Mapping[str, Model],
    trainings: Mapping[str, Training] = MappingProxyType({}),
) -> list[str]:
    """A sentence if a fold was trained with other settings than the configuration's; none where it was not trained yet.

    models: by id; trainings: as of `read_results`.
    """
    if not model_file.exists():
        return []
    result = FoldResult.at(model_file.with_name("predictions.csv"))
    try:
        expected = configured_settings(config, result.dataset, models[result.model], result.seed, trainings)
        differs = compare_settings(result.settings, expected)
    except ModelError as error:
        differs = [str(error)]
    return [f"{result.model}: {'; '.join(differs)}: will be trained again"] if differs else []


def reasons_to_evaluate_again(provenance: Path, config: Config) -> list[str]:
    """A sentence if the tables beside provenance.json are of other data sets, models, seeds or operating points than the
    configuration's."""
    if not provenance.exists():
        return []
    try:
        before = json.loads(provenance.read_text(encoding="utf-8"))["config"]
        ids, seeds, folds = {model["id"] for model in before["models"]}, before["training"]["seeds"], before["folds"]
        tabulated = set(before["datasets"]), ids, seeds, folds["count"], folds["repeats"]
        decisions = before.get("decisions")
    except (ValueError, KeyError, TypeError) as error:
        return [f"{provenance}: damaged ({error!r})"]
    wanted_ids, folds = {model.id for model in config.models}, config.folds
    wanted = set(config.datasets), wanted_ids, config.training.seeds, folds.count, folds.repeats
    if before.get("task", config.task) != config.task:
        return ["its tables are of another task"]
    if decisions != config.decisions.model_dump(mode="json"):
        return ["its tables are of other operating points"]
    return [] if tabulated == wanted else ["its tables are of other data sets, models, folds or seeds"]


def _expected_settings(
    results: Sequence[FoldResult], config: Config | None, models: Sequence[Model], trainings: Mapping[str, Training]
) -> dict[tuple[Key, int | None], dict[str, Any]]:
    """The settings that the folds of each model are to have, by model and seed in the folder's name. Where the configuration does
    not contain the model, those of its first fold, and the classes of the data set's first."""
    by_id = {model.id: model for model in models}
    classes: dict[str, list[str]] = {}
    firsts: dict[Key, FoldResult] = {}
    expected: dict[tuple[Key, int | None], dict[str, Any]] = {}
    for result in results:
        case, first = (result.key, result.seed), firsts.setdefault(result.key, result)
        if config and result.dataset in config.datasets and result.model in by_id:
            model = by_id[result.model]
            expected[case] = configured_settings(config, result.dataset, model, result.seed, trainings)
        elif case not in expected:
            seed = result.trained_seed if result.seed is None else result.seed
            of_dataset = classes.setdefault(result.dataset, result.classes)
            expected[case] = first.settings | {"classes": of_dataset, "training.seed": seed}
    return expected


def _slides_of_folder(folder: Path) -> tuple[dict[int, list[FoldRow]], dict[str, SlideRecord]]:
    """A data set's rows by fold, and its usable slides by id."""
    rows: dict[int, list[FoldRow]] = defaultdict(list)
    for row in read_folds(folder / "folds.csv"):
        rows[row.fold].append(row)
    return rows, {record.slide_id: record for record in read_slide_table(folder / "slides.csv") if record.is_ok}


def _describe_problems(problems: Problems, files: Mapping[Path, str]) -> str:
    lines = [f"  {folder}, fold {', '.join(runs)}: {line}" for (folder, line), runs in problems.items()]
    models = " ".join(dict.fromkeys(f"{folder}/fold_*/{files[folder]}" for folder, _ in problems))
    return (
        "these folds do not belong to the current settings, slides and features:\n"
        f"{first_lines(lines, SHOWN_PROBLEMS)}\nTrain them again with your configuration: add `--forcerun {models}` to "
        "the call of snakemake. To keep them, restore the settings and slides that they were trained with"
    )


def _text(value: Any) -> str:
    """A setting for a message."""
    return f"[{', '.join(map(str, value))}]" if isinstance(value, list) else "none" if value is None else str(value)
