"""Preserved-site cross-validation (Howard et al., Nature Communications 12:4423, 2021): a site's slides are in one part.

A model can recognise the site by its stain and scanner. Where it is tested on sites that it was not trained on, that does not
help it. Sites differ in size, so parts do too; the labels' shares are as equal as whole sites allow.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from roformermil.cohort.slide_sheet import Slide
from roformermil.config import Folds
from roformermil.errors import FoldsError
from roformermil.runtime.text import join_some, plural
from roformermil.tasks import Task, as_task

if TYPE_CHECKING:
    from sklearn.model_selection import StratifiedGroupKFold

WITHOUT_SITES = "or set folds.mode to kfold, which lets a site's slides train and test"


def check_sites(slides: Sequence[Slide], settings: Folds, task: Task | Sequence[str]) -> None:
    """Raises FoldsError for slides without a site, patients of several sites, and classes of fewer sites than folds: each fold
    tests every class, or each stratum that its task needs, on sites of its own. Labels are strata, here and below."""
    task = as_task(task)
    if missing := [slide.slide_id for slide in slides if not slide.site]:
        remedy = "fill in column site of the slide sheet, for TCGA set the data set's `sites: tcga`"
        raise FoldsError(f"{plural(len(missing), 'slide')} without a site: {join_some(missing)}; {remedy}")
    sites_of_patients, sites_of_classes = defaultdict(set), defaultdict(set)
    for slide in slides:
        sites_of_patients[slide.patient_id].add(slide.site)
        sites_of_classes[slide.label].add(slide.site)
    if several := sorted(patient for patient, sites in sites_of_patients.items() if len(sites) > 1):
        remedy = "a patient must be of one site: correct site or patient_id in the slide sheet"
        raise FoldsError(f"patients with slides of several sites: {join_some(several)}; {remedy}")
    sites_of = {task.name_strata([label]): sites_of_classes[label] for label in task.needed_strata}
    sites_of = sites_of or {"the data set": set().union(*sites_of_classes.values())}
    few = {name: sites for name, sites in sites_of.items() if len(sites) < settings.count}
    if not few:
        return
    found = ", ".join(
        f"{name} is of {plural(len(sites), 'site')} ({join_some(sorted(sites))})" for name, sites in few.items()
    )
    smallest = min(map(len, few.values()))
    fewer = f"set folds.count to {smallest} or less" if smallest >= 3 else "add slides of other sites"
    raise FoldsError(f"too few sites for {settings.count} folds: {found}; {fewer}, {WITHOUT_SITES}")


def divide_sites(slides: Sequence[Slide], count: int, seed: int) -> np.ndarray:
    """The group of each slide, 0 to count - 1: (n,). A site is in one group."""
    labels, sites = strata_to_share(slides, count), [slide.site for slide in slides]
    groups = np.empty(len(slides), int)
    for group, (_, members) in enumerate(_splitter(count, seed).split(labels, labels, sites)):
        groups[members] = group
    return groups


def strata_to_share(slides: Sequence[Slide], count: int) -> list[str]:
    """The stratum of each slide, of which each of `count` groups gets its share; the same for all where none is large enough."""
    labels = [slide.label for slide in slides]
    return labels if max(Counter(labels).values()) >= count else [""] * len(labels)


def draw_validation_sites(slides: Sequence[Slide], candidates: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Which slides validate, (n,) bool: whole sites of the candidates (m,), about `share` of each class.

    The candidates are divided as for testing, into 1 / share groups, or as many as there are sites or slides of the largest
    class, and the group closest to the share of every class validates.
    """
    chosen = [slides[k] for k in candidates]
    largest = max(Counter(slide.label for slide in chosen).values())
    count = min(round(1 / share), len({slide.site for slide in chosen}), largest)
    groups = divide_sites(chosen, count, seed)
    _, labels = np.unique([slide.label for slide in chosen], return_inverse=True)
    in_group = np.stack([np.bincount(labels[groups == k], minlength=labels.max() + 1) for k in range(count)])  # (G, C)
    shares = in_group / in_group.sum(axis=0)
    best = np.abs(shares - share).max(axis=1) + (in_group == 0).any(axis=1)  # all classes first of all
    validates = np.zeros(len(slides), bool)
    validates[candidates[groups == best.argmin()]] = True
    return validates


def _splitter(count: int, seed: int) -> "StratifiedGroupKFold":
    from sklearn.model_selection import StratifiedGroupKFold  # slow to import

    return StratifiedGroupKFold(count, shuffle=True, random_state=seed)
