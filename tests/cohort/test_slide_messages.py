from pathlib import Path

from roformermil.cohort.slide_messages import group_lost, group_warnings
from roformermil.cohort.slide_table import SlideRecord


def test_slides_lost_for_one_cause_are_one_line():
    causes = ["no tissue", "no tissue", "another cause"]
    records = [
        SlideRecord(f"s{k}", path := Path(f"/data/s{k}.svs"), status="empty", message=f"{path}: {cause}")
        for k, cause in enumerate(causes)
    ]
    excluded = SlideRecord("x", Path("x.svs"), status="excluded", message="a duplicate")
    lines = ["s0: empty: /data/s0.svs: no tissue. Likewise s1", "s2: empty: /data/s2.svs: another cause"]
    assert group_lost([*records, excluded, SlideRecord("ok", Path("ok.svs"))]) == lines


def test_warnings_that_differ_in_numbers_are_one_line_with_these():
    odd = ["54% of it is 2: look; more", "60% of it is 2: look", "54% of it is 2: look", "60% of that", ""]
    records = [SlideRecord(f"s{k}", Path("s.svs"), warnings=warnings) for k, warnings in enumerate(odd)]
    failed = SlideRecord("failed", Path("s.svs"), status="empty", warnings="more")
    lines = ["s0: 54% of it is 2: look. Likewise s1 (60%), s2", "s0: more", "s3: 60% of that"]
    assert group_warnings([*records, failed]) == lines
