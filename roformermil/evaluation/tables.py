"""All tables of a run, from its folds' predictions."""

import json
from pathlib import Path

import pandas as pd

from roformermil.config import Config
from roformermil.config.base import read_settings
from roformermil.config.decisions import Decisions
from roformermil.evaluation.calibration import calibration_table, confusion
from roformermil.evaluation.cautions import has_few_tests
from roformermil.evaluation.comparisons import compare_models
from roformermil.evaluation.consistency import read_results
from roformermil.evaluation.covariates import FILE as GAINS_FILE
from roformermil.evaluation.covariates import gains_table
from roformermil.evaluation.decisions import decision_tables
from roformermil.evaluation.external import external_table
from roformermil.evaluation.kaplan_meier import survival_tables
from roformermil.evaluation.notes import collect_notes
from roformermil.evaluation.patients import patient_predictions, patients_table
from roformermil.evaluation.predictions import KEYS, join_folds, matching, of_ensembles
from roformermil.evaluation.summary import class_table, fold_metrics, summary_table
from roformermil.evaluation.summary_text import summary_text
from roformermil.evaluation.temperature import scaled_models
from roformermil.runtime.files import remove, write_text
from roformermil.runtime.provenance import write_provenance


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
    external, gains = external_table(results), gains_table(models, results)
    notes = collect_notes(results, models, datasets, settings, summary, external, gains)
    warnings = [(*group, *caution) for group, of_group in notes.items() for caution in of_group.cautions]
    tables = {
        "metrics": metrics,
        "summary": summary.assign(level=models[0].unit),
        "patients": (patients := patients_table(models)),
        "patient_predictions": patient_predictions(models),
        "classes": class_table(with_classes),
        "calibration": calibration_table(with_classes, of_ensembles(scaled_models(*of_classes))),
        "confusion": confusion(with_classes),
        "cautions": pd.DataFrame(warnings, columns=[*KEYS, "caution"]),
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
    lines = {group: of_group.lines for group, of_group in notes.items()}
    write_text(out / "summary.md", summary_text(summary, lines, pooled, external, patients))
    write_provenance(out / "provenance.json", config)
