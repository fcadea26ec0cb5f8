from dataclasses import replace
from pathlib import Path

import pytest

from roformermil.cohort.batches import batch_count, columns_digest, slides_of_batch
from roformermil.cohort.slide_sheet import Slide

SLIDES = [Slide(f"s{k}", f"p{k}", "x", Path(f"s{k}.svs"), 0.5) for k in range(7)]


@pytest.mark.parametrize(("size", "count"), [(1, 7), (3, 3), (7, 1), (25, 1)])
def test_every_slide_is_in_one_batch(size, count):
    assert batch_count(SLIDES, size) == count
    assert [slide for batch in range(count) for slide in slides_of_batch(SLIDES, batch, size)] == SLIDES
    assert slides_of_batch(SLIDES, count, size) == []


def test_the_digest_changes_with_a_slide_in_its_columns_only():
    digest = columns_digest(SLIDES, ["path", "mpp"])
    assert columns_digest([*SLIDES[:-1], replace(SLIDES[-1], label="y", site="a")], ["path", "mpp"]) == digest
    for change in ({"mpp": 0.25}, {"mpp": None}, {"path": Path("other.svs")}):
        assert columns_digest([*SLIDES[:-1], replace(SLIDES[-1], **change)], ["path", "mpp"]) != digest
