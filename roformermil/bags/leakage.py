"""A look for leaks before anything is trained: patients across parts, the same slide twice, the label read off the site."""

import csv
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from roformermil.bags.folds import FoldRow
from roformermil.cohort.slide_sheet import Slide
from roformermil.cohort.slide_table import SlideRecord
from roformermil.config import Folds, Leakage
from roformermil.errors import LeakError
from roformermil.runtime.records import write_rows
from roformermil.runtime.text import join_some

STRONG, UNLIKELY = 0.3, 0.05  # Cramer's V and p value from which site and label are called associated
PERMUTATIONS = 9999
# by how much views of one slide may differ, in grey levels of 255, and its shape and tissue: other compression, other levels
SAME, NEAR = 3, 0.03


@dataclass(frozen=True)
class Finding:
    """One check of one data set."""

    check: str  # patients, duplicates or sites
    outcome: str  # well, leak or unknown
    found: int  # patients, pairs of slides, or sites that it is about
    detail: str


def find_leaks(rows: list[FoldRow], slides: list[Slide], statuses: list[SlideRecord]) -> list[Finding]:
    """Look at a data set's folds. slides: its sheet's rows; statuses: those of its slides.csv, which know the files' content."""
    return [_patients(rows), _duplicates(rows, statuses), _sites(rows, slides)]


def leak_message(findings: list[Finding], settings: Leakage, folds: Folds) -> str:
    """Why a data set stops, and the remedy; empty where nothing found stops it.

    Folds that are not grouped by patient were asked for as such: patients across parts are a warning then.
    """
    action = {"patients": settings.patients if folds.group_by_patient else "warn"}
    action |= {"duplicates": settings.duplicates, "sites": settings.sites}
    stopping = [finding for finding in findings if finding.outcome == "leak" and action[finding.check] == "fail"]
    if not stopping:
        return ""
    remedy = "Mend the slide sheet (column exclude takes a slide out, patient_id keeps slides together)"
    if all(finding.check == "sites" for finding in stopping):
        remedy = "No split mends that: leave out what is of one site (column exclude)"
    said = "\n".join(f"  {finding.check}: {finding.detail}" for finding in stopping)
    settings_of = " and ".join(f"audit.{finding.check}: warn" for finding in stopping)
    return f"its folds leak\n{said}\n{remedy}, or set {settings_of} to go on with a warning in the report."


def write_findings(findings: list[Finding], settings: Leakage, folds: Folds, dataset: str, table: Path) -> list[str]:
    """Write the findings (CSV). Returns warnings, a line each; raises LeakError for a leak that is not to be warned of alone,
    the findings then in `leakage_failed.csv`, as Snakemake removes what a failed job was to make."""
    failed = table.with_name(f"{table.stem}_failed.csv")
    if why := leak_message(findings, settings, folds):
        write_rows(failed, [asdict(finding) for finding in findings])
        raise LeakError(f"{dataset}: {why} All findings are in {failed}")
    failed.unlink(missing_ok=True)  # of an earlier run
    write_rows(table, [asdict(finding) for finding in findings])
    return [f"{dataset}: {finding.check}: {finding.detail}" for finding in findings if finding.outcome == "leak"]


def read_findings(table: Path) -> list[Finding]:
    """What `enforce` wrote."""
    with open(table, newline="", encoding="utf-8") as file:
        return [Finding(r["check"], r["outcome"], int(r["found"]), r["detail"]) for r in csv.DictReader(file)]


def _patients(rows: list[FoldRow]) -> Finding:
    """A patient that has a slide's name stands for that slide: whose it is, is not known."""
    if all(row.patient_id == row.slide_id for row in rows):
        return Finding(
            "patients",
            "unknown",
            0,
            "every slide stands for a patient of its own (patient_id is slide_id): whether any share one cannot be seen",
        )
    crossing = _crossing((row.fold, row.patient_id, row.part) for row in rows)
    if not crossing:
        return Finding("patients", "ok", 0, "no patient is in two parts of a fold")
    return Finding(
        "patients", "leak", len(crossing), f"{len(crossing)} patients are in two parts of a fold: {join_some(crossing)}"
    )


def _duplicates(rows: list[FoldRow], statuses: list[SlideRecord]) -> Finding:
    """Slides that show the same, in whatever files. In one part they count twice; across parts, or with two labels, they leak."""
    content = _content(statuses)
    labels, twins = defaultdict(set), defaultdict(set)
    for row in rows:
        if mark := content.get(row.slide_id):
            labels[mark].add(row.label)
            twins[mark].add(row.slide_id)
    repeated = {mark: sorted(names) for mark, names in twins.items() if len(names) > 1}
    if not repeated:
        return Finding("duplicates", "ok", 0, "no two slides show the same")
    crossing = _crossing((row.fold, content.get(row.slide_id, ""), row.part) for row in rows)
    bad = [" = ".join(names) for mark, names in repeated.items() if mark in crossing or len(labels[mark]) > 1]
    if bad:
        what = f"{len(bad)} slides stand twice, in two parts of a fold or with two labels: {join_some(bad)}"
        return Finding("duplicates", "leak", len(bad), what)
    same = [" = ".join(names) for names in repeated.values()]
    return Finding(
        "duplicates", "ok", len(same), f"{len(same)} slides stand twice, always in the same part: {join_some(same)}"
    )


def _content(statuses: list[SlideRecord]) -> dict[str, str]:
    """A name for what each slide shows, the same for slides that show the same: by their coarsest view, their shape and their
    tissue; by their file where none was looked at (features of another pipeline)."""
    content = {row.slide_id: row.content or row.fingerprint for row in statuses}
    if not (seen := [row for row in statuses if row.thumbnail]):
        return content
    views = np.array([list(bytes.fromhex(row.thumbnail)) for row in seen], np.int16)
    sizes = np.array([((row.width or 1) / (row.height or 1), row.tissue_mm2 or 0) for row in seen])
    for k, row in enumerate(seen):
        alike = (np.abs(views[:k] - views[k]) <= SAME).all(axis=1)
        alike &= (np.abs(sizes[:k] - sizes[k]) <= NEAR * sizes[k]).all(axis=1)
        twins = np.flatnonzero(alike)
        content[row.slide_id] = content[seen[twins[0]].slide_id] if len(twins) else row.slide_id
    return content


def _sites(rows: list[FoldRow], slides: list[Slide]) -> Finding:
    """Whether the site that a slide comes from tells its label: then a model can learn the scanner. One vote a patient."""
    from scipy.stats import PermutationMethod, chi2_contingency
    from scipy.stats.contingency import association

    used = {row.slide_id for row in rows}
    known = {(slide.patient_id, slide.site, slide.label) for slide in slides if slide.slide_id in used and slide.site}
    sites, site = np.unique([name for _, name, _ in sorted(known)], return_inverse=True)
    labels, label = np.unique([name for _, _, name in sorted(known)], return_inverse=True)
    if len(sites) < 2 or len(labels) < 2:
        return Finding(
            "sites", "unknown", len(sites), "a column `site` of two sites or more in the slide sheet would tell"
        )
    counts = np.zeros((len(sites), len(labels)), int)
    np.add.at(counts, (site, label), 1)
    drawn = PermutationMethod(n_resamples=PERMUTATIONS, rng=np.random.default_rng(0))  # right in small tables too
    strength = float(association(counts, method="cramer"))
    p = float(chi2_contingency(counts, correction=False, method=drawn).pvalue)
    alone = (counts.max(axis=1) == counts.sum(axis=1)).sum()
    detail = (
        f"Cramer's V of site and label is {strength:.2f} (p = {p:.1g}) over {len({patient for patient, _, _ in known})} patients; {alone} of {len(sites)} sites "
        "have one label only"
    )
    return Finding("sites", "leak" if strength >= STRONG and p < UNLIKELY else "ok", len(sites), detail)


def _crossing(places: Iterable[tuple[int, str, str]]) -> list[str]:
    """Names that are in two parts of a fold; places: fold, name, part."""
    parts = defaultdict(set)
    for fold, name, part in places:
        parts[fold, name].add(part)
    return sorted({name for (_, name), where in parts.items() if len(where) > 1})
