import time

import pytest

from roformermil.runtime.spelling import look_alikes, one_typo_apart

ALIKE = [
    ("P01", "p01"),
    ("P-02", "P02"),
    ("003", "3"),
    ("P 4", "P4"),
    ("5.0", "5"),
    ("TCGA-AA-0001", "tcga-aa-0001"),
    ("TCGA_AA_0001", "TCGA-AA-1"),
    ("case.7", "case_007"),
    ("P\u00a08", "P8"),  # a no-break space
    ("P\u201309", "P-9"),  # a dash
    ("Mu\u0308ller", "M\u00fcller"),  # composed in two ways
    ("van Dyke", "vandyke"),
    ("P10\u200b", "P10"),  # a space without width
    ("P00", "P0"),
]
APART = [
    ("P1-1", "P11"),
    ("1-23", "12-3"),
    ("P1", "P10"),
    ("P1", "P1a"),
    ("10", "1"),
    ("A1B", "AB1"),
    ("1.5", "15"),
    ("ER+", "ER"),
    ("S-1-A", "S-1-B"),
    ("-", "_"),  # nothing but separators
]
TYPOS = [("lable", "label"), ("labels", "label"), ("labl", "label"), ("lapel", "label"), ("label", "label")]
WORDS = [("stage", "label"), ("side", "sites"), ("tissue_id", "tissue"), ("elbal", "label"), ("ab", "cd")]


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_spellings_of_one_name_are_found(one, other):
    assert look_alikes([one, "unlike", other, one]) == [" / ".join(sorted([one, other]))]


@pytest.mark.parametrize(("one", "other"), APART)
def test_names_that_differ_are_not(one, other):
    assert look_alikes([one, other]) == []


def test_many_names_are_compared_in_little_time():
    start = time.perf_counter()
    assert look_alikes(f"TCGA-{k // 100:02d}-{k:06d}" for k in range(50_000)) == []
    assert time.perf_counter() - start < 5  # 0.2 s; all pairs would take minutes


@pytest.mark.parametrize(("words", "expected"), [*((pair, True) for pair in TYPOS), *((pair, False) for pair in WORDS)])
def test_one_typo_is_one_letter_or_two_exchanged(words, expected):
    assert one_typo_apart(*words) == one_typo_apart(*words[::-1]) == expected
