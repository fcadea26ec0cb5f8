"""A model for other labs: one folder with an ensemble's parameters, the settings that prepare its features, and its card.

The folder contains no path and no name of a slide or patient.
"""

import json
import math
import shutil
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.numpy import load_file, save

from roformermil import __version__
from roformermil.bags.covariates import covariate_coding
from roformermil.bags.folds import read_folds
from roformermil.bags.leakage import read_findings
from roformermil.bags.patients import slides_of_bags
from roformermil.cohort.slide_table import SlideRecord, read_slide_table
from roformermil.config import Model, Training
from roformermil.config.base import read_settings
from roformermil.config.decisions import Decisions
from roformermil.deployment import model_card
from roformermil.deployment.covariates import describe_covariates
from roformermil.deployment.model_card import MetricResult, ModelCard, Preparation, Spread, TrainingData
from roformermil.deployment.operating_point import ClassDecision, DecisionResult, PackagedDecisions
from roformermil.errors import ModelError
from roformermil.evaluation.cautions import cautions
from roformermil.evaluation.consistency import read_results
from roformermil.evaluation.decisions import decision_table, prepare_decisions
from roformermil.evaluation.fold_results import FoldResult
from roformermil.evaluation.kaplan_meier import GROUPS_TABLE, risk_groups
from roformermil.evaluation.learning import learning_cautions
from roformermil.evaluation.patients import patients_table
from roformermil.evaluation.position import position_sentence
from roformermil.evaluation.predictions import OutOfFold, bag_ids, out_of_fold, read_table
from roformermil.evaluation.shift import FILE as REFERENCE_FILE
from roformermil.evaluation.shift import reference_of_folds, write_reference
from roformermil.evaluation.summary import fold_metrics, summary_table
from roformermil.features.store import read_attributes
from roformermil.runtime.files import atomic_path, file_sha256, write_text
from roformermil.runtime.provenance import run_metadata
from roformermil.runtime.text import join_some
from roformermil.tasks import trained_task

NAMES_SLIDES = "features"  # the key of a model file's metadata whose value contains slide ids


def export_model(
    predictions: list[Path],
    data: Path,
    stores: Path,
    settings: Preparation,
    out: Path,
    reference: Path | None = None,
    decisions: Decisions = Decisions(),  # noqa: B008 - settings do not change
) -> None:
    """Write the folder `out`: `fold_{k}.safetensors`, `reference.safetensors`, `model.json`, `README.md`.

    predictions: predictions.csv of every fold and seed of one model, each beside its model.safetensors; data: folder with the
    data set's slides.csv, folds.csv and leakage.csv; stores: folder of its feature stores. The members are each fold's first
    training, of the first repeat; the results are those of all repeats and seeds. reference: what the training slides look like,
    as of the verb `reference`; by default it is computed. decisions: how operating points are chosen. Raises ModelError for folds that differ in settings or classes, are not of
    these slides, or lack their first training.
    """
    results = read_results(predictions, [data])
    firsts = [result for result in results if result.seed is None]
    if incomplete := {result.fold for result in results} - {result.fold for result in firsts}:
        folds = join_some([f"fold_{fold}" for fold in sorted(incomplete)])
        raise ModelError(f"a package contains each fold's first training: also give predictions.csv of {folds}")
    (ensemble,) = out_of_fold(results)
    with atomic_path(out) as scratch:
        scratch.mkdir()
        for result in (one for one in firsts if one.fold < (ensemble.folds_per_repeat or math.inf)):
            _copy_parameters(result, scratch / _member(result.fold))
        if reference:
            shutil.copyfile(reference, scratch / REFERENCE_FILE)
        else:
            write_reference(scratch / REFERENCE_FILE, reference_of_folds(read_folds(data / "folds.csv"), stores))
        members = {path.name: file_sha256(path) for path in sorted(scratch.glob("fold_*"))}
        card = _describe_model(
            results, ensemble, data, stores, settings, members, file_sha256(scratch / REFERENCE_FILE), decisions
        )
        write_text(scratch / "model.json", card.model_dump_json(indent=1) + "\n")
        write_text(scratch / "README.md", model_card.render_card(card))


def _describe_model(
    results: list[FoldResult],
    ensemble: OutOfFold,
    data: Path,
    stores: Path,
    settings: Preparation,
    members: dict[str, str],
    reference: str,
    decisions: Decisions,
) -> ModelCard:
    records = read_slide_table(data / "slides.csv")
    # a finding's own detail names patients and slides
    findings = [replace(f, detail=f"{f.check}: {f.count}") for f in read_findings(data / "leakage.csv")]
    attributes = read_attributes(next(stores / f"{record.slide_id}.zarr" for record in records if record.is_ok))
    metadata = next(result.metadata for result in results if result.seed is None)
    summary = summary_table(fold_metrics(results)[0], [ensemble])
    (main,) = summary[summary.metric == ensemble.task.main].to_dict("records")
    task = trained_task(metadata)
    return ModelCard(
        roformermil=__version__,
        name=f"{ensemble.dataset}, {ensemble.model}",
        model=read_settings(Model, metadata["model"]),
        task=task.name,
        classes=list(task.classes),
        columns_text=task.explain_columns(),
        cut=_risk_cut(results, ensemble),
        parameters=int(metadata["parameters"]),
        members=members,
        reference=reference,
        features={name: attributes.get(name) for name in model_card.FEATURE_ATTRIBUTES},
        settings=settings.without_folders(),
        training=read_settings(Training, metadata["training"]),
        training_data=_describe_data(results, records, data),
        unit=ensemble.unit,
        covariates=describe_covariates([coding for one in results if (coding := covariate_coding(one.metadata))]),
        results=_metric_results(summary),
        repeats=ensemble.repeat_count,
        decisions=_describe_decisions(results, ensemble, members, decisions),
        by_patient=_metric_results(patients_table([ensemble])),
        position=position_sentence(main),
        cautions=[*cautions(ensemble, records, findings), *learning_cautions(results)[ensemble.key]],
        run=run_metadata(),
    )


def _member(fold: int) -> str:
    """The name of the file of a fold's parameters."""
    return f"fold_{fold}.safetensors"


def _describe_data(results: list[FoldResult], records: list[SlideRecord], data: Path) -> TrainingData:
    table = pd.concat([read_table(result.path) for result in results])
    table = table[~bag_ids(table).duplicated()]
    task = results[0].task
    usable, slides, unit = [record for record in records if record.is_ok], len(table), results[0].unit
    tiles = {record.slide_id: record.tiles or 0 for record in usable}
    counts = list(tiles.values())
    if unit == "patient":
        bags = slides_of_bags(read_folds(data / "folds.csv"), unit)
        slides = sum(map(len, bags.values()))
        counts = [sum(tiles.get(name, 0) for name in of_patient) for of_patient in bags.values()]
    return TrainingData(
        dataset=results[0].dataset,
        slides=slides,
        patients=table.patient_id.nunique(),
        labels=Counter(table.label) if task.classes else {},
        labels_text="" if task.classes else task.describe(table.label.tolist(), table.patient_id.tolist()),
        tiles=_spread(counts),
        mpp=_spread(mpp) if (mpp := [record.mpp for record in usable if record.mpp]) else None,
    )


def _describe_decisions(
    results: list[FoldResult], ensemble: OutOfFold, members: Collection[str], settings: Decisions
) -> PackagedDecisions:
    """Operating points and temperatures of the members, and what those of all trainings reach on test slides."""
    if not ensemble.classes:
        return PackagedDecisions(operating_point=settings.rule, classes={})
    decided = prepare_decisions([ensemble], out_of_fold(results, "validation"), settings)
    reached = decision_table(decided.models, decided.points, settings)
    firsts = [(one.fold, one.trained_seed) for one in results if one.seed is None and _member(one.fold) in members]
    runs = zip(decided.points.fold, decided.points.seed, strict=True)
    points = decided.points[[run in firsts for run in runs]]
    classes = {}
    for name, group in points.groupby("class", sort=False):
        if len(thresholds := group.threshold.dropna()):
            rows = json.loads(reached[reached["class"] == name].to_json(orient="records"))  # without NaN
            own = [DecisionResult(**{key: row[key] for key in DecisionResult.model_fields}) for row in rows]
            given = {
                "lowest": thresholds.min(),
                "highest": thresholds.max(),
                "prevalence": settings.prevalence.get(str(name)),
            }
            classes[str(name)] = ClassDecision(threshold=thresholds.median(), **given, results=own)
    temperatures = dict(zip(points.fold, points.temperature, strict=True)) if settings.temperature else {}
    return PackagedDecisions(
        operating_point=settings.rule,
        classes=classes,
        temperatures={_member(fold): value for fold, value in temperatures.items()},
    )


def _risk_cut(results: list[FoldResult], ensemble: OutOfFold) -> float | None:
    """The risk that divides low from high, as for an external data set: the mean of the members' medians of validation patients. None
    where no risk is predicted."""
    if GROUPS_TABLE not in ensemble.task.tables:
        return None
    (validation,) = out_of_fold(results, "validation")
    return float(risk_groups(replace(ensemble, trained_on=ensemble.dataset), validation)[1][0])


def _metric_results(summary: pd.DataFrame) -> list[MetricResult]:
    table = summary[list(MetricResult.model_fields)].astype(object)
    rows = table.where(table.notna(), None).to_dict("records")  # JSON has no NaN
    return [MetricResult.model_validate(row) for row in rows]


def _copy_parameters(result: FoldResult, target: Path) -> None:
    """Copy a fold's model without the metadata that names its slides."""
    metadata = {name: value for name, value in result.metadata.items() if name != NAMES_SLIDES}
    target.write_bytes(save(load_file(result.model_file), metadata))


def _spread(values: Sequence[float]) -> Spread:
    return Spread(least=round(min(values), 4), median=round(float(np.median(values)), 4), most=round(max(values), 4))
