import pytest

from roformermil.bags.audit import audit, enforce, read_findings
from roformermil.bags.folds import FoldRow, make_folds
from roformermil.config import Audit, Folds
from roformermil.errors import LeakError
from roformermil.sheet import Slide
from roformermil.status import Status


def data(sites=lambda k: "", content=lambda k: f"c{k}"):
    """24 patients with two slides each, classes in turn."""
    slides = [Slide(f"s{k}", f"p{k // 2}", "ab"[k // 2 % 2], f"s{k}.svs", None, site=sites(k)) for k in range(48)]
    return slides, [Status(slide.slide_id, slide.path, content=content(k)) for k, slide in enumerate(slides)]


def outcomes(slides, statuses, rows=None):
    rows = rows or make_folds(slides, Folds(count=4), ["a", "b"])
    return {finding.check: finding for finding in audit(rows, slides, statuses)}


def test_clean_folds_pass():
    found = outcomes(*data(sites=lambda k: f"site {k // 4 % 3}"))
    assert {name: finding.outcome for name, finding in found.items()} == dict.fromkeys(
        ("patients", "duplicates", "sites"), "well"
    )


def test_a_patient_on_both_sides_is_found():
    slides, statuses = data()
    rows = make_folds(slides, Folds(count=4, group_by_patient=False), ["a", "b"])
    assert outcomes(slides, statuses, rows)["patients"].outcome == "leak"


def test_the_same_slide_under_two_names_is_found():
    slides, statuses = data(
        content=lambda k: "same" if k in (0, 30) else f"c{k}"
    )  # s30 is of another patient, and class
    finding = outcomes(slides, statuses)["duplicates"]
    assert (finding.outcome, finding.found) == ("leak", 1)
    assert "s0 = s30" in finding.detail


def test_the_same_slide_twice_of_one_patient_stays_in_its_part():
    finding = outcomes(*data(content=lambda k: f"c{k // 2}" if k < 2 else f"d{k}"))["duplicates"]
    assert (finding.outcome, finding.found) == ("well", 1)


def test_a_site_that_tells_the_label_is_found():
    finding = outcomes(*data(sites=lambda k: f"site {'ab'[k // 2 % 2]}{k % 3 // 3}"))["sites"]
    assert finding.outcome == "leak"
    assert "V of site and label is 1.00" in finding.detail and "2 of 2 sites have one label only" in finding.detail


@pytest.mark.parametrize(("patients", "outcome"), [(8, "leak"), (4, "well")])
def test_small_tables_of_sites_are_judged_exactly(patients, outcome):
    """Each of two sites has one label: by chance in 2 of the 70 ways to label 8 patients, in 2 of the 6 ways to label 4."""
    slides = [Slide(f"s{k}", f"p{k}", "ab"[k % 2], f"s{k}.svs", None, site="xy"[k % 2]) for k in range(patients)]
    rows = [FoldRow(0, slide.slide_id, slide.patient_id, slide.label, "train") for slide in slides]
    assert {finding.check: finding.outcome for finding in audit(rows, slides, [])}["sites"] == outcome


def test_leaks_stop_unless_they_were_asked_for(tmp_path):
    slides, statuses = data(content=lambda k: "same" if k in (0, 30) else f"c{k}")
    rows = [FoldRow(0, "s0", "p0", "a", "train"), FoldRow(0, "s1", "p0", "a", "test")]
    findings = audit(rows, slides, statuses)
    with pytest.raises(
        LeakError, match=r"(?s)set: its folds leak.*patients: 1 patients.*p0.*audit.patients: warn"
    ) as error:
        enforce(findings, Audit(), Folds(), "set", tmp_path / "audit.csv")
    assert error.value.reason == "leak"
    assert not (tmp_path / "audit.csv").exists()
    assert read_findings(tmp_path / "audit_failed.csv") == findings, "the table is there to look at"
    warnings = enforce(findings, Audit(), Folds(mode="paper"), "set", tmp_path / "audit.csv")
    assert len(warnings) == 1 and "p0" in warnings[0]
    assert read_findings(tmp_path / "audit.csv") == findings and not (tmp_path / "audit_failed.csv").exists()
    assert enforce(findings, Audit(patients="warn"), Folds(), "set", tmp_path / "audit.csv") == warnings
