"""The step `split`: the usable slides of a data set -> folds.csv, leakage.csv and folds.json."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from roformermil.bags.covariate_table import check_covariates, check_filled, check_numbers, number_columns
from roformermil.bags.external import external_rows, find_external_leaks
from roformermil.bags.folds import assign_folds, given_folds, with_strata, write_folds
from roformermil.bags.leakage import find_leaks, write_findings
from roformermil.bags.patients import with_patient_labels
from roformermil.cohort.covariates import FILE as COVARIATES_FILE
from roformermil.cohort.covariates import Cells, read_covariate_table, write_covariates
from roformermil.cohort.slide_files import content_id
from roformermil.cohort.slide_sheet import Slide
from roformermil.cohort.slide_table import SlideRecord
from roformermil.config import Folds, Leakage, Unit
from roformermil.runtime import stage_versions
from roformermil.runtime.files import fingerprint, write_text
from roformermil.tasks import Classification, Task, as_task

COLUMNS = ("slide_id", "patient_id", "label", "site")  # of the slide sheet, which decide folds and leaks


def split_slides(
    slides: list[Slide],
    records: list[SlideRecord],
    task: Task | Sequence[str],
    settings: Folds,
    leakage: Leakage,
    out: Path,
    trained: Path | None = None,
    unit: Unit = "slide",
    covariates: Mapping[str, Cells] | None = None,
) -> list[str]:
    """Write the folds of the usable slides to `out`, the findings to leakage.csv and what decided the folds to folds.json, and where
    there are covariates covariates.csv; returns a warning per leak.

    records: of the data set's slides.csv; trained: of an external data set, the folder of the one that it validates, whose
    folds all test its slides; covariates: as of `read_covariates`. Raises FoldsError, LeakError for a leak that must stop the data
    set, and BagError for covariates of a patient's slides that differ and as `check_covariate_values` does.
    """
    dataset, usable_ids = out.parent.name, {record.slide_id for record in records if record.is_ok}
    usable = [slide for slide in slides if slide.slide_id in usable_ids]
    if unit == "patient":
        usable = with_patient_labels(usable)
    of_usable = {slide.slide_id: covariates[slide.slide_id] for slide in usable} if covariates else {}
    if of_usable:
        check_covariates(usable, of_usable, unit)
        check_covariate_values(of_usable, trained)
    if trained:
        folds = external_rows(usable, trained)
        findings = find_external_leaks(folds, records, trained)
    else:
        folds = assign_folds(dataset, usable, settings, task)
        findings = find_leaks(folds, with_strata(usable, task), records)
    divided = Folds() if trained else settings  # of another cohort, no patient is shared by choice
    warnings = write_findings(findings, leakage, divided, dataset, out.with_name("leakage.csv"))
    write_folds(out, folds)
    if of_usable:
        write_covariates(out.with_name(COVARIATES_FILE), of_usable, list(next(iter(of_usable.values()))))
    given = (dataset, slides, task, settings, leakage, trained.name if trained else None, covariates, unit)
    write_text(out.with_suffix(".json"), json.dumps(describe_split(*given), indent=1) + "\n")
    return warnings


def check_covariate_values(table: Mapping[str, Cells], trained: Path | None) -> None:
    """Raises BagError for a covariate that no slide to be trained on has, and for text of external slides where those trained on have
    numbers. trained: as of `split_slides`."""
    if not trained:
        check_filled(table)
        return
    of_trained = read_covariate_table(trained / COVARIATES_FILE)
    check_numbers(table, number_columns(of_trained.values(), list(next(iter(of_trained.values())))))


def describe_split(
    dataset: str,
    slides: list[Slide],
    task: Task | Sequence[str],
    settings: Folds,
    leakage: Leakage,
    validates: str | None = None,
    covariates: Mapping[str, Cells] | None = None,
    unit: Unit = "slide",
) -> dict[str, Any]:
    """What decides a data set's folds and covariates.csv, by name, as folds.json keeps it. slides: all of the slide sheet; validates:
    the data set that an external one validates; covariates: of these slides."""
    task, given = as_task(task), given_folds(dataset, settings)
    described: dict[str, Any] = {"the version of the code": stage_versions.SPLIT, "task": task.name}
    described["classes"] = list(task.classes)
    described |= {f"folds.{key}": value for key, value in settings.model_dump(mode="json").items()}
    described |= {f"leakage.{key}": value for key, value in leakage.model_dump(mode="json").items()}
    described |= {"validates": validates} if validates else {}
    described |= {"unit": unit} if unit != "slide" else {}  # unlabelled slides then have their patient's label
    described |= {"the covariates": fingerprint(cells=covariates)} if covariates else {}
    described["the given folds' content"] = content_id(given) if given and given.exists() else ""
    return described | {"the slide sheet's patients, labels and sites": columns_digest(slides, COLUMNS)}


def reasons_to_split_again(
    folds: Path,
    slides: list[Slide],
    task: Task | Sequence[str],
    settings: Folds,
    leakage: Leakage,
    validates: str | None = None,
    covariates: Mapping[str, Cells] | None = None,
    unit: Unit = "slide",
) -> list[str]:
    """A sentence if folds.csv was made of another slide sheet or with other settings; none where it was not made yet."""
    path = folds.with_suffix(".json")
    if not (path.exists() and folds.exists()):
        return []
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        before = {}
    before.setdefault("task", Classification.name)  # not named by earlier releases
    now = describe_split(folds.parent.name, slides, task, settings, leakage, validates, covariates, unit)
    changed = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    return [f"{folds}: made with another value of {', '.join(changed)}"] if changed else []


def columns_digest(slides: Sequence[Slide], columns: Sequence[str]) -> str:
    """Digest of some columns of the slide sheet."""
    cells = [[getattr(slide, column) for column in columns] for slide in slides]
    return fingerprint(rows=[[cell if isinstance(cell, float | None) else str(cell) for cell in row] for row in cells])
