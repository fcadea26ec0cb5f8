from dataclasses import replace

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from roformermil.bags.folds import FoldRow, make_folds
from roformermil.bags.leakage import Finding, find_leaks, read_findings, write_findings
from roformermil.cli import app
from roformermil.cohort.slide_sheet import Slide
from roformermil.cohort.slide_table import SlideRecord, write_slides_csv
from roformermil.cohort.synthetic import draw_tissue, write_pyramid
from roformermil.config import Folds, Leakage, Tissue
from roformermil.errors import LeakError
from roformermil.slides.steps import segment_slide


def data(sites=lambda k: "", content=lambda k: f"c{k}"):
    """24 patients with two slides each, classes in turn."""
    slides = [Slide(f"s{k}", f"p{k // 2}", "ab"[k // 2 % 2], f"s{k}.svs", None, site=sites(k)) for k in range(48)]
    return slides, [SlideRecord(slide.slide_id, slide.path, content=content(k)) for k, slide in enumerate(slides)]


def outcomes(slides, statuses, rows=None):
    rows = rows or make_folds(slides, Folds(count=4), ["a", "b"])
    return {finding.check: finding for finding in find_leaks(rows, slides, statuses)}


def test_clean_folds_pass():
    found = outcomes(*data(sites=lambda k: f"site {k // 4 % 3}"))
    assert {name: finding.outcome for name, finding in found.items()} == dict.fromkeys(
        ("patients", "duplicates", "sites"), "ok"
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


def view(*levels):
    return bytes(levels * (64 // len(levels))).hex()


@pytest.mark.parametrize(
    ("other", "outcome"),
    [
        ({"pixels": view(203, 119)}, "leak"),  # compressed anew
        ({"pixels": view(204, 120)}, "ok"),
        ({"pixels": view(200, 120), "width": 1100}, "ok"),  # another shape
        ({"pixels": view(200, 120), "tissue_mm2": 5.5}, "ok"),  # specks on glass look alike from afar
        ({"pixels": view(200, 120), "content": "c0"}, "leak"),
    ],
)
def test_slides_are_compared_by_what_they_show(other, outcome):
    slides, statuses = data()
    alike = {"pixels": view(200, 120), "width": 1000, "height": 500, "tissue_mm2": 5.0}
    statuses = [replace(row, thumbnail=view(5 * k, 250 - 5 * k)) for k, row in enumerate(statuses)]
    statuses[0], statuses[30] = replace(statuses[0], **alike), replace(statuses[30], **alike | other)
    assert outcomes(slides, statuses)["duplicates"].outcome == outcome


def test_one_picture_in_three_files_is_found(slide, tmp_path):
    """The same picture as another pyramid, another compression, at a slightly other scale: the same; other pictures: not."""
    picture = tifffile.imread(slide)
    write_pyramid(tmp_path / "scale.tif", picture, mpp=0.501)
    tifffile.imwrite(tmp_path / "flat.tif", picture, tile=(256, 256), photometric="rgb", compression="zlib",
                     resolution=(2e4, 2e4), resolutionunit="CENTIMETER")  # fmt: skip
    for seed in range(3):
        write_pyramid(tmp_path / f"other_{seed}.tif", draw_tissue(np.random.default_rng(seed), 1500, 1200, "mixed"))
    paths = [slide, *sorted(tmp_path.glob("*.tif"))]
    rows = [SlideRecord(path.stem, str(path)) for path in paths]
    rows = [replace(row, **segment_slide(row, tmp_path / "tissue", Tissue())) for row in rows]
    folds = [FoldRow(0, row.slide_id, row.slide_id, "a", "train") for row in rows[:3]]
    folds += [FoldRow(0, row.slide_id, row.slide_id, "a", "test") for row in rows[3:]]
    (finding,) = [finding for finding in find_leaks(folds, [], rows) if finding.check == "duplicates"]
    assert finding.outcome == "leak" and finding.detail.endswith("flat = scale = slide")


def test_the_same_slide_twice_of_one_patient_stays_in_its_part():
    finding = outcomes(*data(content=lambda k: f"c{k // 2}" if k < 2 else f"d{k}"))["duplicates"]
    assert (finding.outcome, finding.found) == ("ok", 1)


def test_a_site_that_tells_the_label_is_found():
    finding = outcomes(*data(sites=lambda k: f"site {'ab'[k // 2 % 2]}{k % 3 // 3}"))["sites"]
    assert finding.outcome == "leak"
    assert "V of site and label is 1.00" in finding.detail and "2 of 2 sites have one label only" in finding.detail


@pytest.mark.parametrize(("patients", "outcome"), [(8, "leak"), (4, "ok")])
def test_small_tables_of_sites_are_judged_exactly(patients, outcome):
    """Each of two sites has one label: by chance in 2 of the 70 ways to label 8 patients, in 2 of the 6 ways to label 4."""
    slides = [Slide(f"s{k}", f"p{k}", "ab"[k % 2], f"s{k}.svs", None, site="xy"[k % 2]) for k in range(patients)]
    rows = [FoldRow(0, slide.slide_id, slide.patient_id, slide.label, "train") for slide in slides]
    assert {finding.check: finding.outcome for finding in find_leaks(rows, slides, [])}["sites"] == outcome


def test_a_patient_has_one_vote_on_sites():
    """Two patients, each of its own site and label, with 40 slides each: by chance once in two."""
    slides = [Slide(f"s{k}", f"p{k % 2}", "ab"[k % 2], "x.svs", None, site="xy"[k % 2]) for k in range(80)]
    rows = [FoldRow(0, slide.slide_id, slide.patient_id, slide.label, "train") for slide in slides]
    (finding,) = [finding for finding in find_leaks(rows, slides, []) if finding.check == "sites"]
    assert finding.outcome == "ok" and "over 2 patients" in finding.detail


@pytest.mark.parametrize(("agree", "outcome"), [(70, "leak"), (60, "ok")])
def test_sites_and_labels_may_be_a_little_associated(agree, outcome):
    """Of 100 patients of two sites, so many have their site's usual label: Cramer's V is 0.4 or 0.2."""
    slides = [
        Slide(f"s{k}", f"p{k}", "ab"[k % 2 if k < agree else 1 - k % 2], "x.svs", None, site="xy"[k % 2])
        for k in range(100)
    ]
    rows = [FoldRow(0, slide.slide_id, slide.patient_id, slide.label, "train") for slide in slides]
    (finding,) = [finding for finding in find_leaks(rows, slides, []) if finding.check == "sites"]
    assert finding.outcome == outcome and f"is {2 * agree / 100 - 1:.2f}" in finding.detail


def test_slides_that_stand_for_patients_are_not_said_to_be_well():
    rows = [FoldRow(0, f"s{k}", f"s{k}", "ab"[k % 2], "train") for k in range(8)]
    assert [finding.outcome for finding in find_leaks(rows, [], []) if finding.check == "patients"] == ["unknown"]
    rows[0] = replace(rows[0], patient_id="p0")
    assert [finding.outcome for finding in find_leaks(rows, [], []) if finding.check == "patients"] == ["ok"]


@pytest.mark.parametrize("check", ["patients", "duplicates", "sites"])
def test_each_check_stops_or_warns_as_it_is_set(check, tmp_path):
    findings = [Finding(check, "leak", 1, "this")]
    with pytest.raises(LeakError, match=f"audit.{check}: warn to go on"):
        write_findings(findings, Leakage(), Folds(), "set", tmp_path / "leakage.csv")
    assert write_findings(findings, Leakage(**{check: "warn"}), Folds(), "set", tmp_path / "leakage.csv") == [
        f"set: {check}: this"
    ]


def test_split_stops_on_a_leak_and_leaves_what_it_found(tmp_path):
    """The rule's own command line."""
    slides, statuses = data(content=lambda k: "same" if k in (0, 30) else f"c{k}")
    lines = [f"{s.slide_id},{s.patient_id},{s.label},{s.path}" for s in slides]
    (tmp_path / "sheet.csv").write_text("\n".join(["slide_id,patient_id,label,path", *lines]) + "\n")
    write_slides_csv(tmp_path / "set/slides.csv", statuses)
    command = ["split", "--sheet", tmp_path / "sheet.csv", "--slides", tmp_path / "set/slides.csv", "--classes", "a,b"]
    command += ["--folds", "{count: 4}", "--out", tmp_path / "set/folds.csv"]
    result = CliRunner().invoke(app, list(map(str, command)))
    assert result.exit_code != 0 and isinstance(result.exception, LeakError)
    assert "s0 = s30" in str(result.exception)
    assert (tmp_path / "set/leakage_failed.csv").exists() and not (tmp_path / "set/folds.csv").exists()
    result = CliRunner().invoke(app, [*map(str, command), "--audit", "{duplicates: warn}"])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "set/folds.csv").exists() and not (tmp_path / "set/leakage_failed.csv").exists()


def test_leaks_stop_unless_they_were_asked_for(tmp_path):
    slides, statuses = data(content=lambda k: "same" if k in (0, 30) else f"c{k}")
    rows = [FoldRow(0, "s0", "p0", "a", "train"), FoldRow(0, "s1", "p0", "a", "test")]
    findings = find_leaks(rows, slides, statuses)
    with pytest.raises(
        LeakError, match=r"(?s)set: its folds leak.*patients: 1 patients.*p0.*audit.patients: warn to go on"
    ) as error:
        write_findings(findings, Leakage(), Folds(), "set", tmp_path / "leakage.csv")
    assert error.value.status == "leak"
    assert not (tmp_path / "leakage.csv").exists()
    assert read_findings(tmp_path / "leakage_failed.csv") == findings, "the table is there to look at"
    warnings = write_findings(findings, Leakage(), Folds(mode="paper"), "set", tmp_path / "leakage.csv")
    assert len(warnings) == 1 and "p0" in warnings[0]
    assert read_findings(tmp_path / "leakage.csv") == findings and not (tmp_path / "leakage_failed.csv").exists()
    assert write_findings(findings, Leakage(patients="warn"), Folds(), "set", tmp_path / "leakage.csv") == warnings
