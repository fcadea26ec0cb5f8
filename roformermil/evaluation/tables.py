"""All tables of a run, from its folds' predictions."""

import json
from collections.abc import Collection
from pathlib import Path

import pandas as pd

from roformermil.bags.leakage import read_findings
from roformermil.cohort.slide_table import attrition_summary, read_slide_table
from roformermil.config import Config, Folds
from roformermil.config.base import read_settings
from roformermil.config.decisions import Decisions
from roformermil.evaluation.balance import balance_cautions
from roformermil.evaluation.calibration import calibration_table, confusion
from roformermil.evaluation.cautions import cautions, has_few_tests
from roformermil.evaluation.chance import chance_notes
from roformermil.evaluation.comparisons import compare_models
from roformermil.evaluation.consistency import read_results
from roformermil.evaluation.covariates import FILE as GAINS_FILE
from roformermil.evaluation.covariates import gain_sentences, gains_table
from roformermil.evaluation.decisions import decision_tables
from roformermil.evaluation.external import drop_sentences, external_table
from roformermil.evaluation.fold_results import FoldResult
from roformermil.evaluation.kaplan_meier import survival_tables
from roformermil.evaluation.learning import learning_cautions
from roformermil.evaluation.patients import by_patient, mixed_patients, patient_predictions, patients_table
from roformermil.evaluation.position import position_notes
from roformermil.evaluation.predictions import OutOfFold, join_folds, matching, of_ensembles, read_table
from roformermil.evaluation.shift import TABLE as SHIFT_TABLE
from roformermil.evaluation.shift import shift_caution
from roformermil.evaluation.summary import class_table, fold_metrics, summary_table
from roformermil.evaluation.summary_text import summary_text
from roformermil.evaluation.temperature import scaled_models
from roformermil.runtime.files import remove, write_text
from roformermil.runtime.provenance import write_provenance
from roformermil.runtime.text import plural


def write_tables(predictions: list[Path], datasets: list[Path], out: Path, config: str = "{}") -> None:
    """Write into `out`: `metrics.csv`, `summary.csv`, `summary.md`, `cautions.csv`, `classes.csv`, `calibration.csv`,
    `confusion.csv`, `comparisons.csv`, `external.csv`, `patients.csv`,
    `patient_predictions.csv`, those of `decision_tables` and `survival_tables`, where covariates are configured
    `covariate_gains.csv`, and `provenance.json` with the configuration (JSON) and the versions of the code.

    predictions: every fold's predictions.csv, each beside its model.safetensors; datasets: folders that contain a data set's
    slides.csv, folds.csv and leakage.csv. Raises ModelError for folds that are not of this configuration and these slides.
    """
    settings = read_settings(Config, config, "--config") if json.loads(config) else None
    results = read_results(predictions, datasets, settings, settings.models if settings else ())
    members = join_folds(results, labelled=True)
    models = of_ensembles(members)
    metrics, sizes = fold_metrics(results)
    summary = summary_table(metrics, models)
    validation, training = (matching(members, join_folds(results, part)) for part in ("validation", "train"))
    of_classes = tuple([one for one in group if one.classes] for group in (members, validation))
    with_classes = of_ensembles(of_classes[0])
    decisions = settings.decisions if settings else Decisions()
    notes = dataset_notes(models, datasets, settings.folds if settings else None)
    for group, lines in balance_cautions(results).items():
        if group in notes:  # external slides without labels have no results to be careful about
            notes[group] += lines
    trained = [result for result in results if not result.is_external]
    for (dataset, encoder, _), lines in learning_cautions(trained).items():
        notes[dataset, encoder] += lines
    notes |= unlabelled_notes(results, datasets, set(notes))
    for group, line in _shift_cautions(results, datasets).items():
        notes[group].append(line)
    warnings = [(*group, line) for group, (_, *lines) in notes.items() for line in lines]
    for group, line in chance_notes(summary).items():
        notes[group].insert(1, line)
    for group, lines in position_notes(summary).items():
        notes[group][1:1] = lines  # after the size of the data set, before why to be careful
    external = external_table(results)
    for row, sentence in reversed(drop_sentences(external)):
        notes[row["dataset"], row["encoder"]].insert(1, f"{row['dataset']}, {row['model']}: {sentence}")
    for group, lines in gain_sentences(gains := gains_table(models, results)).items():
        notes[group][1:1] = lines
    tables = {
        "metrics": metrics,
        "summary": summary.assign(level=models[0].unit),
        "patients": (patients := patients_table(models)),
        "patient_predictions": patient_predictions(models),
        "classes": class_table(with_classes),
        "calibration": calibration_table(with_classes, of_ensembles(scaled_models(*of_classes))),
        "confusion": confusion(with_classes),
        "cautions": pd.DataFrame(warnings, columns=["dataset", "encoder", "caution"]),
        "comparisons": compare_models(models, metrics, (sizes.test / sizes.train).to_dict()),
        "external": external,
        **decision_tables(members, validation, training, decisions),
        **survival_tables(models, validation),
    }
    for name, table in tables.items():
        write_text(out / f"{name}.csv", table.to_csv(index=False, lineterminator="\n"))
    if len(gains) or (settings and settings.covariates):
        write_text(out / GAINS_FILE, gains.to_csv(index=False, lineterminator="\n"))
    else:
        remove(out / GAINS_FILE)  # of another configuration
    pooled = {
        (model.dataset, model.encoder)
        for model in models
        if not model.trained_on and (has_few_tests(model) or model.seed_count > 1)
    }
    write_text(out / "summary.md", summary_text(summary, notes, pooled, external, patients))
    write_provenance(out / "provenance.json", config)


def _shift_cautions(results: list[FoldResult], datasets: list[Path]) -> dict[tuple[str, str], str]:
    """By external data set and encoder, that its slides look unlike those its models were trained on; without those that do not, or
    whose shift.csv is not there."""
    lines: dict[tuple[str, str], str] = {}
    for (dataset, encoder), trained in _external_groups(results).items():
        path = _folder(datasets, dataset) / encoder / SHIFT_TABLE
        if path.exists() and (caution := shift_caution(read_table(path), f"those of {trained}")):
            lines[dataset, encoder] = f"{dataset}: {caution}"
    return lines


def _external_groups(results: list[FoldResult]) -> dict[tuple[str, str], str]:
    """External data sets and encoders, and what their models were trained on."""
    return {(one.dataset, one.encoder): one.trained_on for one in results if one.is_external}


def unlabelled_notes(
    results: list[FoldResult], datasets: list[Path], labelled: Collection[tuple[str, str]]
) -> dict[tuple[str, str], list[str]]:
    """A line about each external data set without labels, which has no results."""
    notes: dict[tuple[str, str], list[str]] = {}
    for group, trained in _external_groups(results).items():
        if group not in labelled:
            slides = attrition_summary(read_slide_table(_folder(datasets, group[0]) / "slides.csv"))
            notes[group] = [
                f"{group[0]}: external, predicted by the ensemble trained on {trained}; {slides}; no labels"
            ]
    return notes


def _folder(datasets: list[Path], name: str) -> Path:
    return next(folder for folder in datasets if folder.name == name)


def describe_folds(model: OutOfFold) -> str:
    """How many folds there are, and whether the cross-validation was repeated."""
    if not model.folds_per_repeat:
        return f"{model.fold_count} folds"
    return f"{model.repeat_count} repeats of {model.folds_per_repeat} folds"


def dataset_notes(
    models: list[OutOfFold], datasets: list[Path], folds: Folds | None = None
) -> dict[tuple[str, str], list[str]]:
    """Lines about each data set and encoder: its number of folds and slides, then why its numbers need caution. folds: their settings,
    where they are known."""
    by_site = " by site" if folds and folds.mode == "site" else ""
    notes: dict[tuple[str, str], list[str]] = {}
    for model in models:
        if model.key[:2] in notes:
            continue  # another model, tested on the same slides
        folder = _folder(datasets, model.dataset)
        records, findings = read_slide_table(folder / "slides.csv"), read_findings(folder / "leakage.csv")
        seeds = f" of {model.seed_count} seeds" if model.seed_count > 1 else ""
        tests = f"external, predicted by the ensemble trained on {model.trained_on}"
        tests = tests if model.trained_on else f"{describe_folds(model)}{by_site}{seeds}"
        size = f"{model.dataset}: {tests}; {attrition_summary(records)}"
        if model.unit == "patient":
            size += f"; all slides of a patient are one bag: {plural(len(set(model.patients)), 'patient')}"
        elif by_patient(model) and (mixed := mixed_patients(model)):
            size += f"; {plural(len(mixed), 'patient')} with slides of several labels {'is' if len(mixed) == 1 else 'are'} in no result by patient"
        notes[model.key[:2]] = [size, *cautions(model, records, findings)]
    return notes
