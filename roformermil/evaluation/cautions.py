"""Why numbers need caution, in sentences for the tables, the head of the report and a model's card."""

from collections.abc import Mapping, Sequence

import numpy as np

from roformermil.bags.leakage import Finding
from roformermil.cohort.slide_table import SlideRecord
from roformermil.errors import Status
from roformermil.evaluation.predictions import OutOfFold

FEW_SLIDES, FEW_PATIENTS = 20, 5  # test slides per fold, and test patients of one class per fold
ONE_PATIENT = 2  # with fewer test patients of one class per fold, intervals cover too little (benchmarks/coverage.py)
MANY_LOST = 0.05  # of a data set's slides
BIAS = "if slides share a patient, metrics are optimistic and intervals too narrow"
UNKNOWN_PATIENTS = f"patients are unknown, each slide counts as one: {BIAS}"
LEAKS = {
    "patients": "training and test share patients, so the metrics are optimistic",
    "duplicates": "duplicate slides bias the metrics",
    "sites": "the site predicts the label, so a model may have learned the site",
}

EXTERNAL_LEAKS = {
    "patients": "training and external slides share patients, so the metrics are optimistic",
    "duplicates": "duplicate slides bias the metrics",
}


def cautions(model: OutOfFold, records: Sequence[SlideRecord] = (), findings: Sequence[Finding] = ()) -> list[str]:
    """Sentences, most serious first.

    model: the predictions of any model, for the slides tested; records: of slides.csv; findings: of leakage.csv.
    """
    leaks = EXTERNAL_LEAKS if model.trained_on else LEAKS
    lines = [f"{leaks[finding.check]} ({finding.detail})" for finding in findings if finding.outcome == "leak"]
    if any(finding.check == "patients" and finding.outcome == "unknown" for finding in findings):
        lines.append(UNKNOWN_PATIENTS)
    wanted = [record for record in records if record.status != Status.EXCLUDED]
    lost = sum(record.is_lost for record in wanted)
    if lost > MANY_LOST * len(wanted):
        lines.append(
            f"{lost} of {len(wanted)} slides {'is' if lost == 1 else 'are'} lost: the others may not represent the data set"
        )
    lines = [f"{model.dataset}: {line}" for line in [*lines, *_size_cautions(model)]]
    if model.encoder.endswith("-random"):
        lines.insert(0, f"{model.encoder}: random encoder weights. These numbers only show that the software runs.")
    return lines


def few_patients_caution(patients: Mapping[str, float], few: str = "", per_fold: str = " per fold") -> str:
    """A sentence where a group has few test patients; "" where none has.

    patients: of each group as of `Task.groups`, mean over folds; few: what that does to the metrics, by default to those of
    classes; per_fold: "" where all patients are tested together, as in an external data set.
    """
    fewest = min(patients, key=lambda name: patients[name])
    if patients[fewest] >= FEW_PATIENTS:
        return ""
    effect = few or "AUROC is coarse, average precision is biased upwards, and 95% intervals cover only about 90%"
    if not few and not per_fold:
        effect = "AUROC is coarse, average precision is biased upwards, and intervals are wide"
    elif not few and patients[fewest] >= ONE_PATIENT:
        effect = "AUROC is coarse and average precision is biased upwards"
    return f"{patients[fewest]:.2g} test patients {fewest}{per_fold}: with so few patients {effect}"


def has_few_tests(model: OutOfFold) -> bool:
    """Whether a fold tests few slides, or few patients of a class, or with an event."""
    return _slides_per_fold(model) < FEW_SLIDES or min(_patients_per_fold(model).values()) < FEW_PATIENTS


def _slides_per_fold(model: OutOfFold) -> float:
    return len(model.slides) / len(model.runs)


def _patients_per_fold(model: OutOfFold) -> dict[str, float]:
    """Test patients of each group of the task, mean over folds."""
    groups = model.task.groups(model.targets)
    return {
        name: float(np.mean([len(set(model.patients[tested & rows])) for tested in model.tests]))
        for name, rows in groups.items()
    }


def _size_cautions(model: OutOfFold) -> list[str]:
    """Sentences on few test slides and patients, and on slides that several folds test."""
    lines, slides = [], _slides_per_fold(model)
    per_fold = "" if model.trained_on else " per fold"
    if slides < FEW_SLIDES:
        effect = f"one {model.unit} changes a metric considerably, and a perfect score may be luck"
        lines.append(f"{slides:.2g} test {model.unit}s{per_fold} are few: {effect}")
    if caution := few_patients_caution(_patients_per_fold(model), model.task.few, per_fold):
        lines.append(caution)
    if model.repeated:
        effect = "standard deviations over folds and the corrected t-test are optimistic"
        lines.append(
            f"{model.repeated} {model.unit}s are tested by several folds, which are therefore not independent: {effect}"
        )
    return lines
