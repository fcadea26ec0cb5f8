"""Why numbers cannot be trusted, in words: in every table, at the head of the report, in a model's card."""

from collections.abc import Sequence

import numpy as np

from roformermil.bags.leakage import Finding
from roformermil.cohort.slide_table import SlideRecord
from roformermil.errors import Status
from roformermil.evaluation.predictions import OutOfFold

FEW, RARE = 20, 5  # test slides a fold, and test patients of one class
LONE = 2  # fewer test patients of one class, and intervals hold too seldom (benchmarks/coverage.py)
MANY_LOST = 0.05  # of a data set's slides
NO_PATIENTS = "patients are not known, each slide stands for one: where slides share a patient, figures flatter and intervals are too narrow"
MEANING = {
    "patients": "the same patients train and test: figures flatter",
    "duplicates": "the same slides train and test: figures flatter",
    "sites": "where a slide comes from tells its label: a model may have learned the site",
}


def cautions(one: OutOfFold, slides: Sequence[SlideRecord] = (), findings: Sequence[Finding] = ()) -> list[str]:
    """Sentences, most serious first. one: any model's predictions, for the slides tested; slides, findings: of slides.csv and
    leakage.csv."""
    lines = []
    if one.encoder.endswith("-random"):
        lines.append(f"{one.encoder}: random encoder weights. These numbers say that the path works, no more.")
    leaks = [finding for finding in findings if finding.outcome == "leak"]
    lines += [f"{one.dataset}: {MEANING[finding.check]} ({finding.detail})" for finding in leaks]
    if any(finding.check == "patients" and finding.outcome == "unknown" for finding in findings):
        lines.append(f"{one.dataset}: {NO_PATIENTS}")
    wanted = [row for row in slides if row.status != Status.EXCLUDED]
    lost = sum(row.status != Status.OK for row in wanted)
    if lost > MANY_LOST * len(wanted):
        lines.append(
            f"{one.dataset}: {lost} of {len(wanted)} slides are lost: what is left may not be what was meant to be studied"
        )
    return [*lines, *_of_folds(one)]


def _of_folds(one: OutOfFold) -> list[str]:
    """Too few to test on, and slides that several folds test."""
    lines, folds = [], np.unique(one.folds)
    tested = len(one.slides) / len(folds)
    patients = {
        name: np.mean([len(set(one.patients[(one.folds == fold) & (one.labels == c)])) for fold in folds])
        for c, name in enumerate(one.classes)
    }
    rarest = min(patients, key=lambda name: patients[name])
    if tested < FEW:
        lines.append(
            f"{one.dataset}: {tested:.3g} test slides a fold are few: one slide moves a figure far, and a perfect one may be luck"
        )
    if patients[rarest] < RARE:
        lines.append(
            f"{one.dataset}: {patients[rarest]:.1f} test patients of class {rarest} a fold: an AUROC over so few takes few values, "
            "average precision lies above what a larger test would give"
            + (", and 95% intervals of both hold in about nine cases of ten" if patients[rarest] < LONE else "")
        )
    if one.repeated:
        lines.append(
            f"{one.dataset}: {one.repeated} slides are tested by several folds, which are not independent then: standard "
            "deviations over folds and the corrected t-test flatter"
        )
    return lines
