import csv
from pathlib import Path

from roformermil.check.inspection import InspectedSlide
from roformermil.check.slides_table import MOST_ROWS, describe_slides, slide_rows, write_table
from roformermil.cohort.slide_table import SlideRecord

GOOD = {"width": 20000, "height": 10000, "mpp": 0.2502, "mpp_source": "vendor", "tissue_mm2": 2.5, "tiles": 1234}


def inspected(name, format="aperio", **fields):
    return InspectedSlide(SlideRecord(name, Path(f"{name}.svs"), **(GOOD | fields)), format)


def odd_slides():
    coarse = {"status": "too_coarse", "mpp": 1.0, "mpp_source": "sheet", "tiles": None, "message": "why"}
    text = dict.fromkeys(("width", "height", "mpp", "tissue_mm2", "tiles"))
    return [
        inspected("coarse", **coarse),
        inspected("text", format="", status="unreadable", mpp_source="", **text),
        inspected("white", format="mirax", warnings="level 2 is not used", mpp_source="objective"),
    ]


def test_a_row_says_what_the_slide_is_and_whether_it_can_be_used():
    lines = describe_slides(slide_rows("d", [inspected("good"), *odd_slides()])).splitlines()
    assert [" ".join(line.split()) for line in lines[1:]] == [
        "good aperio 20,000 x 10,000 0.250 scanner 20% 1,234 ok",
        "coarse aperio 20,000 x 10,000 1.000 slide sheet 1% – too_coarse",
        "text – – – – – – unreadable",
        "white mirax 20,000 x 10,000 0.250 objective power 20% 1,234 ok, but see below",
    ]
    assert lines[0].index("status") == lines[2].index("too_coarse"), "columns are aligned"


def test_of_many_slides_kinds_are_counted_and_only_odd_ones_are_listed():
    many = [inspected(f"s{k}", mpp=0.25 + k / 1e5) for k in range(MOST_ROWS)]
    excluded = inspected("x", format="", status="excluded")
    summary, odd = describe_slides(slide_rows("d", [*many, excluded, *odd_slides()])).split("\n\n")
    assert " ".join(summary.splitlines()[1].split()) == f"aperio 0.25 scanner {MOST_ROWS} 0 1,234 61,700"
    assert len(summary.splitlines()) == 5 and "aperio  " in summary and " slide sheet " in summary
    assert [line.split()[0] for line in odd.splitlines()] == ["slide", "coarse", "text", "white"]


def test_odd_slides_without_end_are_counted():
    table = describe_slides(slide_rows("d", [inspected(f"s{k}", status="no_mpp") for k in range(MOST_ROWS + 7)]))
    assert table.endswith("and 7 more odd slides; `--table FILE` writes all") and "s49" in table and "s50" not in table


def test_the_csv_has_every_slide_with_message_and_absolute_path(tmp_path):
    write_table(tmp_path / "t.csv", slide_rows("d", [inspected("good"), *odd_slides()]))
    with open(tmp_path / "t.csv", newline="") as file:
        good, coarse, text, white = csv.DictReader(file)
    assert (good["dataset"], good["tissue"], good["mpp"], good["mpp_source"]) == ("d", "0.1997", "0.2502", "vendor")
    assert Path(good["path"]) == Path("good.svs").absolute()
    assert (coarse["status"], coarse["message"], text["mpp"]) == ("too_coarse", "why", "")
    assert white["warnings"] == "level 2 is not used"
