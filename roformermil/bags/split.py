"""The step `split`: the usable slides of a data set -> folds.csv and leakage.csv."""

from pathlib import Path

from roformermil.bags.folds import assign_folds, write_folds
from roformermil.bags.leakage import find_leaks, write_findings
from roformermil.cohort.slide_sheet import Slide
from roformermil.cohort.slide_table import SlideRecord
from roformermil.config import Folds, Leakage


def split_slides(
    slides: list[Slide], records: list[SlideRecord], classes: list[str], settings: Folds, leakage: Leakage, out: Path
) -> list[str]:
    """Write the folds of the usable slides to `out` and the findings to leakage.csv; returns a warning per leak.

    records: of the data set's slides.csv. Raises FoldsError, and LeakError for a leak that must stop the data set.
    """
    dataset, usable_ids = out.parent.name, {record.slide_id for record in records if record.is_ok}
    usable = [slide for slide in slides if slide.slide_id in usable_ids]
    folds = assign_folds(dataset, usable, settings, classes)
    findings = find_leaks(folds, usable, records)
    warnings = write_findings(findings, leakage, settings, dataset, out.with_name("leakage.csv"))
    write_folds(out, folds)
    return warnings
