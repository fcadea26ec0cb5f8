"""An external data set: the models of every fold are tested on all of its slides, and none of these may be known from training."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from roformermil.bags.folds import FoldRow, read_folds
from roformermil.bags.leakage import Finding, find_duplicates, find_shared_patients
from roformermil.cohort.slide_sheet import Slide
from roformermil.cohort.slide_table import SlideRecord, read_slide_table
from roformermil.runtime.text import join_some

SAME_NAMES = "if these are different patients, give them other ids in one of the two slide sheets"


def external_rows(slides: Sequence[Slide], trained: Path) -> list[FoldRow]:
    """Rows of folds.csv: every slide, with a label or without, is tested by each fold of the data set trained on.

    trained: that data set's folder, with its folds.csv.
    """
    folds = sorted({row.fold for row in read_folds(trained / "folds.csv")})
    return [FoldRow(fold, one.slide_id, one.patient_id, one.label, "test") for fold in folds for one in slides]


def find_external_leaks(rows: Sequence[FoldRow], records: Sequence[SlideRecord], trained: Path) -> list[Finding]:
    """One finding per check: patients and pictures that an external data set shares with the one that models are trained on.

    rows: as of `external_rows`; records: of its slides.csv; trained: folder of the other data set, with folds.csv and slides.csv.
    """
    folds, others = read_folds(trained / "folds.csv"), read_slide_table(trained / "slides.csv")
    known = {row.slide_id: _as_part(row, trained.name, "train") for row in folds}
    tested = {row.slide_id: _as_part(row, "external", "test") for row in rows}
    both = [*known.values(), *tested.values()]
    of_both = [_renamed(one, trained.name) for one in others if one.slide_id in known]
    of_both += [_renamed(one, "external") for one in records if one.slide_id in tested]
    patients = _check_patients(list(known.values()), list(tested.values()), trained.name)
    return [patients, find_duplicates(both, of_both, f"in {trained.name} and here")]


def _as_part(row: FoldRow, dataset: str, part: str) -> FoldRow:
    """The row as one of a single fold, its slide id with the data set's name: both may call different slides alike."""
    return replace(row, fold=0, slide_id=_full_name(row.slide_id, dataset), part=part)


def _renamed(record: SlideRecord, dataset: str) -> SlideRecord:
    return replace(record, slide_id=_full_name(record.slide_id, dataset))


def _full_name(slide_id: str, dataset: str) -> str:
    return f"{dataset}: {slide_id}"


def _check_patients(known: list[FoldRow], tested: list[FoldRow], trained: str) -> Finding:
    if shared := find_shared_patients([*known, *tested]):
        detail = f"patients also in {trained}: {join_some(shared)} ({len(shared)} in total); {SAME_NAMES}"
        return Finding("patients", "leak", len(shared), detail)
    if any(all(row.slide_id.endswith(f": {row.patient_id}") for row in rows) for rows in (known, tested)):
        unknown = "patient_id equals slide_id for every slide of one of the two"
        return Finding("patients", "unknown", 0, f"{unknown}: whether patients are also in {trained} is unknown")
    return Finding("patients", "ok", 0, f"no patient is also in {trained}")
