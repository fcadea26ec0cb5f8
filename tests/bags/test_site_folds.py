from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from roformermil.bags.folds import check_enough, make_folds
from roformermil.bags.leakage import find_leaks
from roformermil.cohort.slide_sheet import Slide
from roformermil.config import Folds
from roformermil.config.base import read_settings
from roformermil.errors import ConfigError, FoldsError
from roformermil.tasks import make_task

SITES = Folds(count=4, mode="site")


def cohort(sites=16, seed=0):
    """Sites of 4 to 30 patients, one or two slides each, of which 20 to 60% have class b."""
    rng, slides = np.random.default_rng(seed), []
    for site in range(sites):
        share = rng.uniform(0.2, 0.6)
        for patient in range(rng.integers(4, 31)):
            label = "ab"[int(rng.random() < share)]
            slides += [
                Slide(f"s{site}_{patient}_{k}", f"p{site}_{patient}", label, Path("x.svs"), None, site=f"h{site}")
                for k in range(rng.integers(1, 3))
            ]
    return slides


def parts_by_site(rows, slides):
    site_of, parts = {slide.slide_id: slide.site for slide in slides}, defaultdict(set)
    for row in rows:
        parts[row.fold, site_of[row.slide_id]].add(row.part)
    return parts


def test_a_site_is_in_one_part_and_labels_are_balanced():
    slides = cohort()
    rows = make_folds(slides, SITES, "ab")
    parts = parts_by_site(rows, slides)
    assert all(len(of_site) == 1 for of_site in parts.values())
    tested = [site for (_, site), of_site in parts.items() if of_site == {"test"}]
    assert sorted(tested) == sorted({slide.site for slide in slides}), "each site is tested once"
    overall = np.mean([slide.label == "b" for slide in slides])
    for fold in range(4):
        for part, least, most in (("test", 0.15, 0.35), ("validation", 0.03, 0.2)):
            labels = [row.label for row in rows if (row.fold, row.part) == (fold, part)]
            assert least < len(labels) / len(slides) < most, (fold, part)
            assert np.mean([label == "b" for label in labels]) == pytest.approx(overall, abs=0.12), (fold, part)


@pytest.mark.parametrize("slides", [12, 30, 60])
def test_numbers_are_divided_by_site_and_too_few_sites_are_said(slides):
    numbers = [Slide(f"s{k}", f"p{k}", f"{k}", Path("x.svs"), None, site=f"h{k % 6}") for k in range(slides)]
    parts = parts_by_site(make_folds(numbers, SITES, make_task("regression")), numbers)
    assert all(len(of_site) == 1 for of_site in parts.values())
    few = [replace(slide, site=f"h{k % 3}") for k, slide in enumerate(numbers)]
    with pytest.raises(FoldsError, match="too few sites for 4 folds: the data set is of 3 sites .* folds.count to 3"):
        make_folds(few, SITES, make_task("regression"))


def test_other_folds_split_sites_which_the_leakage_check_tells_apart():
    """A site that predicts the label is a leak, except where folds keep sites together."""
    slides = [replace(slide, label="ab"[slide.site in ("h1", "h3", "h5", "h7", "h9")]) for slide in cohort()]
    outcomes = []
    for mode in ("kfold", "site"):
        rows = make_folds(slides, Folds(count=4, mode=mode), "ab")
        outcomes += [find.outcome for find in find_leaks(rows, slides, []) if find.check == "sites"]
        assert any(len(parts) > 1 for parts in parts_by_site(rows, slides).values()) == (mode == "kfold")
    assert outcomes == ["leak", "ok"]


def test_repeats_divide_sites_differently_or_say_that_they_cannot():
    slides = cohort()
    rows = make_folds(slides, Folds(count=4, repeats=2, mode="site"), "ab")
    assert {row.fold for row in rows} == set(range(8))
    assert all(len(of_site) == 1 for of_site in parts_by_site(rows, slides).values())
    three = [slide for slide in slides if slide.site in ("h0", "h1", "h2")]
    with pytest.raises(FoldsError, match=r"2 repeats divide the sites in only 1 way: set folds\.repeats to 1"):
        make_folds(three * 1, Folds(count=3, repeats=2, mode="site", validation=0.5), "ab")


def test_what_prevents_folds_by_site_is_said_with_its_remedy():
    slides = cohort()
    for changed, message in (
        (
            [replace(slides[0], site=""), *slides[1:]],
            r"1 slide without a site: s0_0_0; .* column site .* `sites: tcga`",
        ),
        (
            [*slides, replace(slides[0], slide_id="other", site="h9")],
            r"patients with slides of several sites: p0_0; a patient must be of one site",
        ),
        (
            [s for s in slides if s.site in ("h0", "h1", "h2")],
            r"too few sites for 4 folds: class a is of 3 sites \(h0, h1, h2\), .*set folds\.count to 3 or less, or set",
        ),
        (
            [replace(slide, label="ab"[slide.site == "h5"]) for slide in slides],
            r"class b is of 1 site \(h5\); add slides of other sites, or set folds\.mode to kfold",
        ),
    ):
        with pytest.raises(FoldsError, match=message):
            check_enough(changed, SITES, "ab")
    with pytest.raises(ConfigError, match="leave out group_by_patient: false"):
        read_settings(Folds, {"mode": "site", "group_by_patient": False})
    with pytest.raises(ConfigError, match="mode: site makes folds, path gives them"):
        read_settings(Folds, {"mode": "site", "path": "folds.csv"})


def test_few_sites_validate_too():
    """Of four sites, one tests, one validates and two train: fewer than the nine groups of the default share."""
    slides = [slide for slide in cohort(seed=3) if slide.site in ("h0", "h1", "h2", "h3")]
    rows = make_folds(slides, SITES, "ab")
    counts = Counter(parts.copy().pop() for parts in parts_by_site(rows, slides).values())
    assert counts == {"test": 4, "validation": 4, "train": 8}


def test_sites_of_one_slide_each_are_enough():
    slides = [Slide(f"s{k}", f"p{k}", "ab"[k % 2], Path("x.svs"), None, site=f"h{k}") for k in range(12)]
    rows = make_folds(slides, Folds(count=3, mode="site"), "ab")
    for fold in range(3):
        assert {part: sum(row.part == part for row in rows if row.fold == fold) for part in ("test", "validation")} == {
            "test": 4,
            "validation": 2,
        }
