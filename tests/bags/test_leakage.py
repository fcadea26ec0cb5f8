import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from roformermil.bags.folds import FoldRow, make_folds
from roformermil.bags.leakage import Finding, find_leaks, identify_pictures, leak_message, read_findings, write_findings
from roformermil.cli import app
from roformermil.cohort.slide_sheet import Slide
from roformermil.cohort.slide_table import SlideRecord, write_slides_csv
from roformermil.cohort.synthetic import write_pyramid
from roformermil.config import Folds, Leakage, Tissue
from roformermil.errors import LeakError
from roformermil.slides.steps import segment_slide
from tests.tissue_drawing import draw_tissue


def make_cohort(sites=lambda k: "", content=lambda k: f"c{k}"):
    """Slides and records of 24 patients with two slides each, of alternating classes."""
    slides = [Slide(f"s{k}", f"p{k // 2}", "ab"[k // 2 % 2], Path(f"s{k}.svs"), None, site=sites(k)) for k in range(48)]
    return slides, [SlideRecord(slide.slide_id, slide.path, content=content(k)) for k, slide in enumerate(slides)]


ONE_PATIENT = [FoldRow(0, "s0", "p0", "a", "train"), FoldRow(0, "s1", "p0", "a", "test")]


def check(name, rows, slides=(), records=()):
    """The finding of the check with this name."""
    (finding,) = [finding for finding in find_leaks(rows, list(slides), list(records)) if finding.check == name]
    return finding


def slides_of_two_sites(count, patients=None, labels="ab"):
    """Slides of patients in turn, of two sites in turn, with these labels in turn."""
    names = [(f"s{k}", f"p{k % (patients or count)}", labels[k % len(labels)]) for k in range(count)]
    return [Slide(*columns, Path("x.svs"), None, site="xy"[k % 2]) for k, columns in enumerate(names)]


def check_cohort(name, slides, records):
    return check(name, make_folds(slides, Folds(count=4), ["a", "b"]), slides, records)


def training_rows(slides):
    return [FoldRow(0, slide.slide_id, slide.patient_id, slide.label, "train") for slide in slides]


@pytest.mark.parametrize("name", ["patients", "duplicates", "sites"])
def test_folds_without_leaks_are_ok(name):
    assert check_cohort(name, *make_cohort(sites=lambda k: f"site {k // 4 % 3}")).outcome == "ok"


def test_a_patient_in_two_parts_is_a_leak():
    two_folds = [FoldRow(0, "s2", "p1", "a", "train"), FoldRow(1, "s2", "p1", "a", "test")]  # as it should be
    detail = "patients in two parts of a fold: p0 (1 in total)"
    assert check("patients", ONE_PATIENT + two_folds) == Finding("patients", "leak", 1, detail)


@pytest.mark.parametrize(("other", "outcome"), [(28, "leak"), (1, "ok")])
def test_duplicate_slides_are_a_leak_unless_they_are_of_one_patient(other, outcome):
    slides, records = make_cohort(content=lambda k: "same" if k in (0, other) else f"c{k}")
    finding = check_cohort("duplicates", slides, records)  # s28 is of another patient of the same class
    assert (finding.outcome, finding.count) == (outcome, 1)
    assert f"s0 = s{other}" in finding.detail and ("(1 in total)" in finding.detail) == (outcome == "leak")


@pytest.mark.parametrize(("labels", "outcome"), [("aa", "ok"), ("ab", "leak")])
def test_duplicate_slides_in_one_part_are_a_leak_only_with_two_labels(labels, outcome):
    rows = [FoldRow(0, f"s{k}", "p0", label, "train") for k, label in enumerate(labels)]
    records = [SlideRecord(f"s{k}", Path(f"s{k}.svs"), fingerprint="same") for k in range(2)]
    finding = check("duplicates", rows, records=records)
    detail = "duplicate slides with two labels: s0 (a) = s1 (b) (1 in total)"
    if outcome == "ok":
        detail = "duplicate slides, each in one part of a fold: s0 = s1"
    assert finding == Finding("duplicates", outcome, 1, detail)


def test_duplicates_in_two_parts_and_with_two_labels_are_told_apart():
    rows = [FoldRow(0, f"s{k}", f"p{k}", label, ("train", "test")[k % 2]) for k, label in enumerate("abaa")]
    records = [SlideRecord(f"s{k}", Path(f"s{k}.svs"), fingerprint="01"[k // 2]) for k in range(4)]
    two = "with two labels: s0 (a) = s1 (b) (1 in total); in two parts of a fold: s2 = s3 (1 in total)"
    assert check("duplicates", rows, records=records) == Finding("duplicates", "leak", 2, f"duplicate slides {two}")


def test_records_without_content_are_no_duplicates():
    rows = [ONE_PATIENT[0], replace(ONE_PATIENT[1], patient_id="p1")]
    records = [SlideRecord(f"s{k}", Path(f"s{k}.svs")) for k in range(2)]
    assert check("duplicates", rows, records=records).outcome == "ok"


def thumbnail(*levels):
    return bytes(levels * (64 // len(levels))).hex()


@pytest.mark.parametrize(
    ("other", "outcome"),
    [
        ({"thumbnail": thumbnail(203, 119)}, "leak"),  # compressed again
        ({"thumbnail": thumbnail(204, 120)}, "ok"),
        ({"width": 1100}, "ok"),  # another aspect ratio
        ({"tissue_mm2": 5.5}, "ok"),  # thumbnails of small specks on glass are similar
        ({"content": "c0"}, "leak"),
    ],
)
def test_slides_are_compared_by_their_picture(other, outcome):
    slides, records = make_cohort()
    picture = {"thumbnail": thumbnail(200, 120), "width": 1000, "height": 500, "tissue_mm2": 5.0}
    records = [replace(record, thumbnail=thumbnail(5 * k, 250 - 5 * k)) for k, record in enumerate(records)]
    records[0], records[30] = replace(records[0], **picture), replace(records[30], **picture | other)
    assert check_cohort("duplicates", slides, records).outcome == outcome


def same_picture(one, two):
    """As documented; `two` is the later slide."""
    levels = zip(bytes.fromhex(one.thumbnail), bytes.fromhex(two.thumbnail), strict=True)
    sizes = [(record.width / record.height, record.tissue_mm2 or 0) for record in (one, two)]
    close = all(abs(a - b) <= 0.03 * b for a, b in zip(*sizes, strict=True))
    return close and all(abs(a - b) <= 3 for a, b in levels)


def test_slides_are_the_same_where_any_two_compared_are():
    """Against the comparison of every slide with all before it, with many pairs on either side of each limit."""
    rng = np.random.default_rng(0)
    thumbnails = rng.integers(100, 110, (20, 64))
    records = []
    for k in range(600):
        levels = thumbnails[rng.integers(20)] + rng.choice([0, 3]) + (rng.random(64) < 0.005)  # 3 is the same, 4 is not
        sizes = {"width": int(1000 * rng.choice([1, 1.03, 1.031])), "height": 1000}
        area = rng.choice([0, None, 5.0, 4.86, 4.84, 5.15, 5.16, 50.0])
        records.append(
            SlideRecord(f"s{k}", Path("x"), thumbnail=bytes(levels.tolist()).hex(), tissue_mm2=area, **sizes)
        )
    expected = {}
    for k, record in enumerate(records):
        first = next((other for other in records[:k] if same_picture(other, record)), None)
        expected[record.slide_id] = expected[first.slide_id] if first else record.slide_id
    assert identify_pictures(records) == expected and 30 < len(set(expected.values())) < 500


def test_the_audit_of_thousands_of_slides_takes_seconds():
    rng, count = np.random.default_rng(0), 10000
    levels, areas = rng.normal(210, 15, (count, 64)).clip(0, 255).astype(np.uint8), rng.lognormal(4, 1, count)
    sites = [f"hospital {k}" for k in rng.integers(0, 40, count)]
    slides = [Slide(f"s{k}", f"p{k}", "ab"[k % 2], Path("x"), None, site=site) for k, site in enumerate(sites)]
    records = [
        SlideRecord(
            f"s{k}", Path("x"), thumbnail=levels[k].tobytes().hex(), width=1000 + k, height=1000, tissue_mm2=area
        )
        for k, area in enumerate(areas)
    ]
    rows = training_rows(slides)
    start = time.process_time()
    assert [finding.outcome for finding in find_leaks(rows, slides, records)] == ["ok", "ok", "ok"]
    assert (
        time.process_time() - start < 3
    )  # 0.5 s; 8 s where all thumbnails are compared, 6 s where labels are permuted


def test_one_picture_in_three_files_is_a_duplicate(slide, tmp_path):
    """In another pyramid, with another compression and at a slightly different scale, among other pictures."""
    picture = tifffile.imread(slide)
    write_pyramid(tmp_path / "scale.tif", picture, mpp=0.501)
    options = {"compression": "zlib", "resolution": (2e4, 2e4), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(tmp_path / "flat.tif", picture, tile=(256, 256), photometric="rgb", **options)
    for seed in range(3):
        write_pyramid(tmp_path / f"other_{seed}.tif", draw_tissue(np.random.default_rng(seed), 1500, 1200))
    records = [SlideRecord(path.stem, path) for path in (slide, *sorted(tmp_path.glob("*.tif")))]
    records = [replace(record, **segment_slide(record, tmp_path / "tissue", Tissue())) for record in records]
    rows = [FoldRow(0, r.slide_id, r.slide_id, "a", "train" if k < 3 else "test") for k, r in enumerate(records)]
    finding = check("duplicates", rows, records=records)
    assert finding.outcome == "leak" and "flat = scale = slide (1 in total)" in finding.detail


@pytest.mark.parametrize(
    ("slides", "outcome", "detail"),
    [
        # by chance in 2 of the 70 ways to label 8 patients, in 2 of the 6 ways to label 4
        (slides_of_two_sites(8), "leak", "1.00 (p = 0.03) over 8 patients; 2 of 2 sites have one label only"),
        (slides_of_two_sites(4), "ok", "over 4 patients"),
        (slides_of_two_sites(80, patients=2), "ok", "over 2 patients"),  # by chance in every second case
        (slides_of_two_sites(100, labels="ab" * 35 + "ba" * 15), "leak", "is 0.40"),  # 70 have their site's usual label
        (slides_of_two_sites(100, labels="ab" * 32 + "ba" * 18), "ok", "is 0.28"),
    ],
)
def test_a_site_is_a_leak_where_strongly_associated_with_the_label_and_not_by_chance(slides, outcome, detail):
    """Small tables are tested exactly, and a patient with many slides counts once per site."""
    finding = check("sites", training_rows(slides), slides)
    assert finding.outcome == outcome and detail in finding.detail


@pytest.mark.parametrize(
    ("part_of", "outcome"),
    [
        (lambda fold, slide: "test" if slide.site == "xy"[fold] else "train", "ok"),
        (lambda fold, slide: "test" if slide.site == "xy"[fold] or slide.slide_id == "s1" else "train", "leak"),
        (lambda fold, slide: "test" if slide.patient_id in ("p0", "p1") else "validation", "leak"),
    ],
)
def test_sites_that_are_tested_apart_are_no_leak(part_of, outcome):
    slides = slides_of_two_sites(8)
    rows = [FoldRow(f, s.slide_id, s.patient_id, s.label, part_of(f, s)) for f in range(2) for s in slides]
    finding = check("sites", rows, slides)
    assert finding.outcome == outcome and ("no fold tests on a site" in finding.detail) == (outcome == "ok")


def test_sites_are_not_tested_apart_where_the_site_of_a_slide_is_unknown():
    slides = slides_of_two_sites(10)
    rows = [
        FoldRow(f, s.slide_id, s.patient_id, s.label, "test" if s.site == "xy"[f] else "train")
        for f in range(2)
        for s in slides
    ]
    assert check("sites", rows, [*slides[:-1], replace(slides[-1], site="")]).outcome == "leak"


def test_slides_outside_the_folds_do_not_count_for_sites():
    slides = slides_of_two_sites(20)
    assert check("sites", training_rows(slides[::2]), slides).outcome == "unknown"


def test_patients_are_unknown_where_every_patient_id_is_a_slide_id():
    rows = [FoldRow(0, f"s{k}", f"s{k}", "ab"[k % 2], "train") for k in range(8)]
    assert check("patients", rows).outcome == "unknown"
    rows[0] = replace(rows[0], patient_id="p0")
    assert check("patients", rows).outcome == "ok"


@pytest.mark.parametrize("name", ["patients", "duplicates", "sites"])
def test_a_leak_of_each_kind_stops_or_warns_as_configured(name, tmp_path):
    remedy = "Split so that each site is in one part .* leave out" if name == "sites" else "Fix the slide sheet"
    findings = [Finding(name, "leak", 1, "this"), Finding("other", "ok", 0, "that")]
    message = f"(?s)set: its folds leak.*this.*{remedy}.*set leakage.{name}: warn to continue"
    with pytest.raises(LeakError, match=message):
        write_findings(findings, Leakage(**{name: "fail"}), Folds(), "set", tmp_path / "leakage.csv")
    warnings = write_findings(findings, Leakage(**{name: "warn"}), Folds(), "set", tmp_path / "leakage.csv")
    assert warnings == [f"set: {name}: this"]
    assert bool(leak_message(findings, Leakage(), Folds())) == (name != "sites")  # by default sites only warn


def test_split_stops_on_a_leak_and_keeps_its_findings(tmp_path):
    """Through the command line that the rule runs."""
    slides, records = make_cohort(content=lambda k: "same" if k in (0, 30) else f"c{k}")
    lines = [f"{s.slide_id},{s.patient_id},{s.label},{s.path}" for s in slides]
    (tmp_path / "sheet.csv").write_text("\n".join(["slide_id,patient_id,label,path", *lines]) + "\n")
    write_slides_csv(tmp_path / "set/slides.csv", records)
    command = ["split", "--sheet", tmp_path / "sheet.csv", "--slides", tmp_path / "set/slides.csv", "--classes", "a,b"]
    command += ["--folds", "{count: 4}", "--out", tmp_path / "set/folds.csv"]
    result = CliRunner().invoke(app, list(map(str, command)))
    assert result.exit_code and isinstance(result.exception, LeakError) and "s0 (a) = s30 (b)" in str(result.exception)
    assert (tmp_path / "set/leakage_failed.csv").exists() and not (tmp_path / "set/folds.csv").exists()
    result = CliRunner().invoke(app, [*map(str, command), "--leakage", "{duplicates: warn}"])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "set/folds.csv").exists() and not (tmp_path / "set/leakage_failed.csv").exists()


def test_shared_patients_stop_unless_folds_split_by_slide(tmp_path):
    findings = find_leaks(ONE_PATIENT, *make_cohort())
    with pytest.raises(LeakError, match=r"(?s)set: its folds leak.*p0.*leakage.patients: warn to continue") as error:
        write_findings(findings, Leakage(), Folds(), "set", tmp_path / "leakage.csv")
    assert error.value.status == "leak" and not (tmp_path / "leakage.csv").exists()
    assert read_findings(tmp_path / "leakage_failed.csv") == findings
    warnings = write_findings(findings, Leakage(), Folds(mode="paper"), "set", tmp_path / "leakage.csv")
    assert len(warnings) == 1 and "p0" in warnings[0]
    assert read_findings(tmp_path / "leakage.csv") == findings and not (tmp_path / "leakage_failed.csv").exists()
    assert write_findings(findings, Leakage(patients="warn"), Folds(), "set", tmp_path / "leakage.csv") == warnings
