from pathlib import Path

import pytest

from roformermil.cohort.batches import divide_into_batches
from roformermil.cohort.slide_sheet import Slide
from roformermil.cohort.slide_table import read_slide_table, records_from_sheet

SIZE = 25


def slides(count, prefix="s"):
    return [Slide(f"{prefix}{k}", f"p{k}", "x", Path(f"{prefix}{k}.svs"), 0.5) for k in range(count)]


def names(batches):
    """The slides of each batch, by its name."""
    return {name: [slide.slide_id for slide in batch.slides] for name, batch in batches.items()}


@pytest.mark.parametrize("count", [1, SIZE, SIZE + 1, 1000])
def test_every_slide_is_in_one_batch_of_at_most_the_size(count):
    found = names(divide_into_batches(slides(count), SIZE))
    assert sorted(name for batch in found.values() for name in batch) == sorted(s.slide_id for s in slides(count))
    assert max(map(len, found.values())) <= SIZE and list(found) == sorted(found)
    assert (list(found) == ["all"]) == (count <= SIZE)


def test_batches_are_a_third_empty_at_most_on_average():
    assert len(divide_into_batches(slides(10_000), SIZE)) < 10_000 / SIZE * 1.5


def test_the_order_of_the_slide_sheet_decides_nothing():
    assert divide_into_batches(slides(300)[::-1], SIZE) == divide_into_batches(slides(300), SIZE)


@pytest.mark.parametrize("place", [0, 500, 999])
def test_a_slide_more_or_less_changes_the_batch_that_it_is_in_alone(place):
    listed = slides(1000)
    before = names(divide_into_batches(listed, SIZE))
    less = names(divide_into_batches([*listed[:place], *listed[place + 1 :]], SIZE))
    more = names(divide_into_batches([*listed[:place], *slides(1, prefix="new"), *listed[place:]], SIZE))
    for after in (less, more):
        changed = [name for name in before if after.get(name) != before[name]]
        assert len(changed) == 1, "it changed, was divided, or joined with what is left of its sibling"


def test_a_full_batch_is_divided_in_two():
    listed = slides(26)
    assert list(divide_into_batches(listed[:25], SIZE)) == ["all"]
    assert list(divide_into_batches(listed, SIZE)) == ["0", "1"]


def test_a_batchs_table_has_what_its_first_stage_reads(tmp_path):
    listed = [Slide("b", "p", "x", Path("b.svs"), None, "{method: otsu}"), Slide("a", "p", "y", Path("a.svs"), 0.25)]
    listed.append(Slide("c", "p", "y", Path("c,d.svs"), 0.5, exclude="a 'duplicate', of b"))
    (batch,) = divide_into_batches(listed, SIZE).values()
    (tmp_path / "all.csv").write_text(batch.table())
    assert read_slide_table(tmp_path / "all.csv") == records_from_sheet(sorted(listed, key=lambda s: s.slide_id))
