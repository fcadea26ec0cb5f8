"""Leaks between the parts of a fold: shared patients, duplicate slides, sites that predict the label."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from roformermil.bags.folds import FoldRow, in_several_parts
from roformermil.cohort.slide_sheet import Slide
from roformermil.cohort.slide_table import SlideRecord
from roformermil.config import Folds, Leakage
from roformermil.errors import LeakError
from roformermil.runtime.files import remove
from roformermil.runtime.records import read_records, write_records
from roformermil.runtime.text import join_some

MIN_CRAMERS_V, MAX_P = 0.3, 0.05  # site and label are associated from here on
# between two files of a slide: of a thumbnail's 255 grey levels, and as a fraction of its aspect ratio and tissue area
MAX_GREY_DIFFERENCE, MAX_SIZE_DIFFERENCE = 3, 0.03


@dataclass(frozen=True)
class Finding:
    """The result of one check of a data set's folds."""

    check: str  # patients, duplicates or sites
    outcome: str  # ok, leak or unknown
    count: int  # patients in two parts, sets of duplicates, or sites
    detail: str


def find_leaks(rows: list[FoldRow], slides: list[Slide], records: list[SlideRecord]) -> list[Finding]:
    """One finding per check. slides: rows of the slide sheet; records: the slide table, with what identifies each picture."""
    return [_check_patients(rows), find_duplicates(rows, records), _check_sites(rows, slides)]


def leak_message(findings: list[Finding], settings: Leakage, folds: Folds) -> str:
    """Why the data set must not be trained on, and what to do; empty where no leak stops it."""
    actions = settings.model_dump()
    if not folds.group_by_patient:  # as the user chose
        actions["patients"] = "warn"
    stopping = [finding for finding in findings if finding.outcome == "leak" and actions[finding.check] == "fail"]
    if not stopping:
        return ""
    remedy = "Fix the slide sheet (column exclude leaves a slide out, patient_id keeps slides together)"
    if all(finding.check == "sites" for finding in stopping):
        remedy = "Split so that each site is in one part (folds.mode: site), or leave out"
        remedy += " sites that have one label only (column exclude)"
    details = "\n".join(f"  {finding.check}: {finding.detail}" for finding in stopping)
    keys = " and ".join(f"leakage.{finding.check}: warn" for finding in stopping)
    return f"its folds leak\n{details}\n{remedy}, or set {keys} to continue with a warning in the report."


def write_findings(findings: list[Finding], settings: Leakage, folds: Folds, dataset: str, table: Path) -> list[str]:
    """Write the findings as CSV; returns a warning for each leak. Raises LeakError if one must stop the data set.

    The findings are then in `leakage_failed.csv`, since Snakemake removes the outputs of a failed job.
    """
    failed = table.with_name(f"{table.stem}_failed.csv")
    if message := leak_message(findings, settings, folds):
        write_records(failed, findings)
        raise LeakError(f"{dataset}: {message} All findings are in {failed.absolute()}")
    remove(failed)  # from an earlier run
    write_records(table, findings)
    return [f"{dataset}: {finding.check}: {finding.detail}" for finding in findings if finding.outcome == "leak"]


def read_findings(table: Path) -> list[Finding]:
    """The findings that `write_findings` wrote."""
    return read_records(table, Finding)


def _check_patients(rows: list[FoldRow]) -> Finding:
    if all(row.patient_id == row.slide_id for row in rows):
        unknown = "patient_id equals slide_id for every slide: whether slides share a patient is unknown"
        return Finding("patients", "unknown", 0, unknown)
    if not (shared := find_shared_patients(rows)):
        return Finding("patients", "ok", 0, "no patient is in two parts of a fold")
    detail = f"patients in two parts of a fold: {join_some(shared)} ({len(shared)} in total)"
    return Finding("patients", "leak", len(shared), detail)


def find_shared_patients(rows: Sequence[FoldRow]) -> list[str]:
    """The patients in two parts of a fold."""
    return sorted({name for _, name in in_several_parts((row.fold, row.patient_id, row.part) for row in rows)})


def find_duplicates(
    rows: Sequence[FoldRow], records: Sequence[SlideRecord], parts: str = "in two parts of a fold"
) -> Finding:
    """Slides with the same picture leak in two parts of a fold, or with two labels; in one part they only weigh double.

    parts: how to say that slides are in two of them.
    """
    pictures = identify_pictures(records)
    slides: dict[str, dict[str, str]] = defaultdict(dict)  # their labels by slide_id, of each picture
    for row in rows:
        if picture := pictures.get(row.slide_id):
            slides[picture][row.slide_id] = row.label
    duplicates = {picture: labels for picture, labels in slides.items() if len(labels) > 1}
    if not duplicates:
        return Finding("duplicates", "ok", 0, "no duplicate slides")
    memberships = ((row.fold, pictures.get(row.slide_id, ""), row.part) for row in rows)
    shared = {picture for _, picture in in_several_parts(memberships)}
    mislabelled = {picture for picture, labels in duplicates.items() if len(set(labels.values()) - {""}) > 1}
    parted = [" = ".join(sorted(ids)) for picture, ids in duplicates.items() if picture in shared - mislabelled]
    labelled = [
        " = ".join(f"{slide_id} ({label})" for slide_id, label in sorted(duplicates[picture].items()))
        for picture in duplicates
        if picture in mislabelled
    ]
    cases = (("with two labels", labelled), (parts, parted))
    if found := [f"{case}: {join_some(sets)} ({len(sets)} in total)" for case, sets in cases if sets]:
        return Finding("duplicates", "leak", len(labelled + parted), f"duplicate slides {'; '.join(found)}")
    names = [" = ".join(sorted(ids)) for ids in duplicates.values()]
    return Finding("duplicates", "ok", len(names), f"duplicate slides, each in one part of a fold: {join_some(names)}")


def identify_pictures(records: Sequence[SlideRecord]) -> dict[str, str]:
    """An identifier of each slide's picture, by slide_id: equal for slides with the same picture.

    Slides are compared by thumbnail, aspect ratio and tissue area; by file where there is no thumbnail (imported features).
    """
    pictures = {record.slide_id: record.content or record.fingerprint for record in records}
    if not (records := [record for record in records if record.thumbnail]):
        return pictures
    for record, first in zip(records, _first_same(records), strict=True):
        same = records[first]
        pictures[record.slide_id] = pictures[same.slide_id] if same is not record else record.slide_id
    return pictures


def _first_same(records: list[SlideRecord]) -> list[int]:
    """For every slide the index of the first one before it with the same picture, or its own.

    Thumbnails are compared only with those of slides of similar tissue area and mean grey level: 20,000 in seconds.
    """
    thumbnails = np.array([list(bytes.fromhex(record.thumbnail)) for record in records], np.int16)
    ratios = np.array([(record.width or 1) / (record.height or 1) for record in records])
    areas, means = np.array([record.tissue_mm2 or 0.0 for record in records]), thumbnails.mean(axis=1)
    by_area = np.argsort(areas)
    reach = 1.01 * MAX_SIZE_DIFFERENCE  # a little more, so that rounding excludes none
    starts = np.searchsorted(areas[by_area], areas * (1 - reach))
    ends = np.searchsorted(areas[by_area], areas * (1 + reach), side="right")
    firsts = []
    for k, (start, end) in enumerate(zip(starts, ends, strict=True)):
        similar = by_area[start:end]
        similar = np.sort(similar[(similar < k) & (np.abs(means[similar] - means[k]) <= MAX_GREY_DIFFERENCE)])
        for values in (ratios, areas):
            similar = similar[np.abs(values[similar] - values[k]) <= MAX_SIZE_DIFFERENCE * values[k]]
        same = (np.abs(thumbnails[similar] - thumbnails[k]) <= MAX_GREY_DIFFERENCE).all(axis=1)
        firsts.append(int(similar[same.argmax()]) if same.any() else k)
    return firsts


def _check_sites(rows: list[FoldRow], slides: list[Slide]) -> Finding:
    """Whether a slide's site predicts its label: a model can then learn the scanner, unless it is tested on slides of
    other sites. Each patient counts once per site."""
    from scipy.stats import MonteCarloMethod, chi2_contingency
    from scipy.stats.contingency import association

    used = {row.slide_id for row in rows}
    known = sorted({(s.patient_id, s.site, s.label) for s in slides if s.slide_id in used and s.site})
    sites, site = np.unique([name for _, name, _ in known], return_inverse=True)
    labels, label = np.unique([name for _, _, name in known], return_inverse=True)
    if len(sites) < 2 or len(labels) < 2:
        return Finding("sites", "unknown", len(sites), "needs a column site with two or more sites in the slide sheet")
    counts = np.zeros((len(sites), len(labels)), int)
    np.add.at(counts, (site, label), 1)
    # labels permuted among sites: valid in small tables too, and drawn as whole tables, in time that no cohort lengthens
    permutations = MonteCarloMethod(n_resamples=9999, rng=np.random.default_rng(0))
    cramers_v = float(association(counts, method="cramer"))
    p = float(chi2_contingency(counts, correction=False, method=permutations).pvalue)
    pure, patients = (counts.max(axis=1) == counts.sum(axis=1)).sum(), len({patient for patient, _, _ in known})
    detail = f"Cramer's V of site and label is {cramers_v:.2f} (p = {p:.1g}) over {patients} patients"
    detail += f"; {pure} of {len(sites)} sites have one label only"
    if cramers_v < MIN_CRAMERS_V or p >= MAX_P:
        return Finding("sites", "ok", len(sites), detail)
    if _are_sites_kept_together(rows, slides):
        return Finding("sites", "ok", len(sites), f"{detail}; no fold tests on a site that it trains or validates on")
    return Finding("sites", "leak", len(sites), detail)


def _are_sites_kept_together(rows: list[FoldRow], slides: list[Slide]) -> bool:
    """Whether every fold tests only on slides of sites that are in none of its other parts."""
    sites = {slide.slide_id: slide.site for slide in slides}
    tested = any(row.part == "test" for row in rows)
    memberships = [(row.fold, sites.get(row.slide_id, ""), "test" if row.part == "test" else "other") for row in rows]
    return tested and all(site for _, site, _ in memberships) and not in_several_parts(memberships)
