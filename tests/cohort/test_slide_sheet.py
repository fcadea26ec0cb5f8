from dataclasses import replace

import pytest

from roformermil.cohort.slide_sheet import Slide, parse_slide_sheet, read_slide_sheet, sheet_warnings
from roformermil.errors import SheetError
from roformermil.tasks import make_task

REQUIRED = "slide_id,patient_id,label,path"
HEADER = f"{REQUIRED},mpp\n"
MISTAKES = [
    (HEADER, "has a header, but no rows"),
    (HEADER + "s1,p1,x,a.svs,\ns1,p2,y,a.svs,\n", r"duplicate slide_id 's1' \(rows 2 and 3\)"),
    (HEADER + "s1,,x,a.svs,\ns2,p2,y,b.svs,\n", "row 2: slide 's1' has no patient_id, but others have"),
    (HEADER + "s1,p1,z,a.svs,\n", "row 2: slide 's1' has label 'z'; expected one of x, y"),
    (HEADER + "s1,p1,x,c.svs,\n", "row 2: slide 's1': no file at .*c.svs"),
    (HEADER + "s1,p1,x,../slides.csv,\n", "row 2: path .* is not inside the root"),
    (HEADER + "s1,p1,x,/etc/hosts,\n", "row 2: path .* is not inside the root"),
    (HEADER + "../s1,p1,x,a.svs,\n", "row 2: slide_id '../s1' may only have letters"),
    (HEADER + "s1,p1,x,a.svs,zero\n", "row 2: mpp 'zero' of slide 's1' is not a positive number"),
    (HEADER + "s1,p1,x,a.svs,-1\n", "row 2: mpp '-1'"),
    (HEADER + "s1,p1,x\n", "row 2: 3 cells, but the header has 5"),
    (HEADER + "s1,p1,x,a.svs,0,25\n", "row 2: 6 cells, but .* write decimals with a point"),
    (HEADER + 's1,p1,x,a.svs,"0,25"\n', "slide 's1' is not a positive number of um/px; write 0.25"),
    (HEADER + "s1,p1,x,,\n", "row 2: slide 's1' has no path"),
    (HEADER + "s1,p1, X ,a.svs,\n", "row 2: slide 's1' has label 'X'; expected one of x, y; did you mean 'x'?"),
    (HEADER + "s1,p1,x,sub,\n", "row 2: slide 's1': .*/images/sub is a folder; give the slide's file in it"),
    (HEADER + "s1,p1,x,sub\\a.svs,\n", "write / between folders"),
    ("slide_id,patient_id,label,path,exclude\ns1,p1,x,a.svs,FALSE\n", "exclude 'FALSE' of slide 's1' is not a reason"),
    (HEADER + "\ns1,p1,x,a.svs,\n\ns2,p2,y,a.svs,\n", "row 5: slide 's2' is the same file as slide 's1'"),
]


@pytest.fixture
def sheet(tmp_path):
    (tmp_path / "images/sub").mkdir(parents=True)
    for name in "abd":
        (tmp_path / f"images/{name}.svs").touch()

    def read(text, **options):
        (tmp_path / "slides.csv").write_text(text)
        return read_slide_sheet(tmp_path / "slides.csv", tmp_path / "images", ["x", "y"], **options)

    return read


def test_rows_are_read_without_spaces_around_cells_and_the_mpp_column_may_be_left_out(sheet, tmp_path):
    (tmp_path / "images/c.zarr").mkdir()  # an OME-Zarr is a folder
    one, two = sheet(HEADER + "s1,p1,x,a.svs,0.25\ns2,p1,y,c.zarr,\n")
    assert one == Slide("s1", "p1", "x", tmp_path / "images/a.svs", 0.25)
    assert two == Slide("s2", "p1", "y", tmp_path / "images/c.zarr", None)
    assert sheet("slide_id , patient_id,label ,path\n s1 , p1 , x , a.svs\n") == [replace(one, mpp=None)]


@pytest.mark.parametrize(("text", "expected"), MISTAKES)
def test_errors_name_the_row_and_what_was_expected(sheet, text, expected):
    with pytest.raises(SheetError, match=expected):
        sheet(text)


def test_ids_and_paths_are_enough_and_each_slide_is_then_a_patient_of_its_own(sheet, tmp_path):
    slides = sheet("slide_id,path\ns1,a.svs\ns2,b.svs\n")
    assert slides[1] == Slide("s2", "s2", "", tmp_path / "images/b.svs", None)
    assert sheet("slide_id,patient_id,label,path\ns1,,,a.svs\ns2,,,b.svs\n") == slides


def test_slides_without_a_label_are_slides_and_named_where_others_have_one(sheet):
    slides = sheet(HEADER + "s1,p1,x,a.svs,\ns2,p2,y,b.svs,\ns3,p2,,d.svs,\n")
    assert [slide.label for slide in slides] == ["x", "y", ""]
    assert sheet_warnings(slides) == ["1 slide without a label, not trained on: s3"]
    assert sheet_warnings([replace(slide, label="") for slide in slides]) == []


def test_other_columns_are_ignored(sheet):
    assert sheet(f",{REQUIRED},age,,\n0,s1,p1,x,a.svs,70,,\n") == sheet(f"{REQUIRED}\ns1,p1,x,a.svs\n")
    assert sheet(f"{REQUIRED}\ns1,p1,x,a.svs,,,\n") == sheet(f"{REQUIRED}\ns1,p1,x,a.svs\n")


def test_all_mistakes_of_a_row_and_the_slides_of_good_rows_are_returned(tmp_path):
    (tmp_path / "a.svs").touch()
    row = "s/1,,z,c.svs,-1,{tresh: 4; hold: 2},no\n"
    text = f"{REQUIRED},mpp,tissue,exclude\n{row}s2,p2,x,a.svs,,,\ns2,p2,x,../a.svs,,,\n"
    (tmp_path / "sheet.csv").write_text(text.replace(row, row.replace("{tresh: 4; hold: 2}", '"{tresh: 4, hold: 2}"')))
    slides, mistakes = parse_slide_sheet(tmp_path / "sheet.csv", tmp_path, ["x", "y"])
    assert [slide.slide_id for slide in slides] == ["s2"]
    places = [mistake.removeprefix(f"{tmp_path}/sheet.csv, ").split(": ")[0] for mistake in mistakes]
    assert places == ["row 2"] * 7 + ["row 4"] * 2
    for given in ("slide_id 's/1'", "no patient_id", "label 'z'", "mpp '-1'", "tresh:", " hold:", "exclude 'no'"):
        assert sum(given in mistake for mistake in mistakes) == 1, given
    assert "is not inside the root" in mistakes[7] and "duplicate slide_id 's2' (rows 3 and 4)" in mistakes[8]


def test_a_root_that_is_no_folder_is_said_once(tmp_path):
    (tmp_path / "sheet.csv").write_text(HEADER + "s1,p1,x,a.svs,\ns2,p2,y,b.svs,\n")
    with pytest.raises(SheetError) as error:
        read_slide_sheet(tmp_path / "sheet.csv", tmp_path / "none", ["x", "y"])
    assert str(error.value) == f"{tmp_path}/sheet.csv: the data set's root is not a folder: {tmp_path}/none"


def test_a_slides_own_tissue_settings_are_checked(sheet):
    text = 'slide_id,patient_id,label,path,tissue\ns1,p1,x,a.svs,"{threshold: 4}"\ns2,p1,x,b.svs,\n'
    assert [slide.tissue for slide in sheet(text)] == ["{threshold: 4}", ""]
    with pytest.raises(SheetError, match=r"row 2: tissue of slide 's1': tresh: unknown key; did you mean `thres"):
        sheet(text.replace("threshold", "tresh"))
    for settings in ("{close: 2, median: 3}", "{weights: a.pth}", "{method: otsu, close: 2}", "{min_area: 5}"):
        assert sheet(text.replace("{threshold: 4}", settings))[0].tissue == settings
    for settings in ("threshold", "{threshold: [}", "{threshold: 4, weights: a.pth}", "{method: otsu, threshold: 4}"):
        with pytest.raises(SheetError, match="row 2: tissue of slide 's1'"):
            sheet(text.replace("{threshold: 4}", settings))


def test_absolute_paths_are_a_permission(sheet, tmp_path):
    (tmp_path / "a.svs").touch()
    with pytest.raises(SheetError, match="is not inside the root.*allow_absolute"):
        sheet(f"{HEADER}s1,p1,x,{tmp_path}/a.svs,\n")
    assert sheet(f"{HEADER}s1,p1,x,{tmp_path}/a.svs,\n", allow_absolute=True)[0].path == tmp_path / "a.svs"
    with pytest.raises(SheetError, match="is not inside the root"):  # a relative path never leaves it
        sheet(f"{HEADER}s1,p1,x,../a.svs,\n", allow_absolute=True)


def test_paths_below_the_users_home_are_absolute(sheet, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.svs").touch()
    assert sheet(f"{HEADER}s1,p1,x,~/a.svs,\n", allow_absolute=True)[0].path == tmp_path / "a.svs"
    with pytest.raises(SheetError, match="path '~/a.svs' of slide 's1' is not inside the root .*allow_absolute"):
        sheet(f"{HEADER}s1,p1,x,~/a.svs,\n")
    assert sheet(f"{HEADER}s1,p1,x,~/images/a.svs,\n")[0].path == tmp_path / "images/a.svs"


def test_patients_and_slides_that_look_alike_are_warnings(sheet):
    rows = "a-1,P01,x,a.svs,\na_01,p1,y,b.svs,\nb,p2,x,d.svs,\n"
    patients, slides = sheet_warnings(sheet(HEADER + rows, check_files=False))
    assert patients.startswith("these look like one patient each: P01 / p1. Folds would keep them apart")
    assert slides.startswith("these look like one slide each: a-1 / a_01. ")
    same = "".join(f"{name},{name},x,{name}.svs,\n" for name in ("a-1", "A1", "b"))
    assert len(sheet_warnings(sheet(HEADER + same, check_files=False))) == 1  # not once more for slides


def test_placeholders_for_unknown_patients_are_a_warning(sheet):
    rows = "".join(f"s{k},{patient},x,{k}.svs,\n" for k, patient in enumerate(("NA", "NA", "unknown", "p1", "p1")))
    (line,) = sheet_warnings(sheet(HEADER + rows, check_files=False))
    assert (
        line == "patient_id 'NA' of 2 slides counts as one patient: for unknown patients, repeat slide_id as patient_id"
    )


def test_rounded_numbers_of_a_spreadsheet_are_a_warning(sheet):
    rows = "".join(f"s{k},{patient},x,{k}.svs,\n" for k, patient in enumerate(("1.23E+11", "1.23E+11", "2E+5", "E2")))
    (line,) = sheet_warnings(sheet(HEADER + rows, check_files=False))
    assert line.startswith("a spreadsheet has rounded these patient_id: 1.23E+11, 2E+5; format the column as text")


@pytest.mark.shared
def test_patients_spelled_twice_are_named_in_pairs(shared):
    sheet = shared / "cases/sheets/patients_spelled_twice.csv"
    slides = read_slide_sheet(sheet, sheet.parent, ["0", "1"], check_files=False)
    (line,) = sheet_warnings(slides)
    pairs = "003 / 3, 5 / 5.0, P 4 / P4, P-02 / P02, P01 / p01, TCGA-AA-0001 / tcga-aa-0001"
    assert line.startswith(f"these look like one patient each: {pairs}.")


def test_patients_with_several_classes_are_a_warning(sheet):
    rows = "s1,p1,x,a.svs,\ns2,p2,y,b.svs,\n"
    assert sheet_warnings(sheet(HEADER + rows)) == []
    (line,) = sheet_warnings(sheet(HEADER + rows + "s3,p2,x,d.svs,\n"))
    assert line.startswith("patients with slides of several labels: p2.")


def test_a_missing_sheet_is_named_and_all_mistakes_of_a_sheet_are_reported_together(sheet, tmp_path):
    with pytest.raises(SheetError, match=f"{tmp_path}/none.csv: no such slide sheet"):
        read_slide_sheet(tmp_path / "none.csv", tmp_path)
    with pytest.raises(SheetError) as error:
        sheet(HEADER + "".join(f"s{k},p{k},{'xz'[k % 2]},a{k}.svs,\n" for k in range(14)))
    lines = str(error.value).splitlines()
    assert len(lines) == 11 and lines[-1] == "and 11 more"  # each second row has two
    assert "row 2: slide 's0': no file at" in lines[0]
    assert "row 3: slide 's1' has label 'z'" in lines[1] and "row 3: slide 's1': no file at" in lines[2]


SURVIVAL = [
    ("slide_id,path,time,event\ns1,a.svs,-3,1\n", "slide 's1' has time '-3'; expected a number of 0 or more"),
    ("slide_id,path,time,event\ns1,a.svs,3,dead\n", r"slide 's1' has event 'dead'; expected 1 \(it happened"),
    ("slide_id,path,time,event\ns1,a.svs,3,\n", "slide 's1' has event ''; expected 1"),
    ("slide_id,path,time\ns1,a.svs,3\n", "no column 'event', which a label needs beside the others: time, event"),
    ("slide_id,path,OS.time,OS\ns1,a.svs,3,1\n", r"no column 'time': is it your column 'OS.time'\? Rename it"),
    ("slide_id,path,Time,event\ns1,a.svs,3,1\n", "column 'Time': did you mean 'time'"),
    ("slide_id,path,time,vital_status\ns1,a.svs,3,1\n", "no column 'event': is it your column 'vital_status'"),
]


@pytest.mark.parametrize(("text", "expected"), SURVIVAL)
def test_mistakes_in_times_and_events_are_named(tmp_path, text, expected):
    (tmp_path / "a.svs").touch()
    (tmp_path / "slides.csv").write_text(text)
    with pytest.raises(SheetError, match=expected):
        read_slide_sheet(tmp_path / "slides.csv", tmp_path, make_task("survival"))


def test_time_and_event_are_a_label_and_numbers_are_checked(tmp_path):
    for name in "abc":
        (tmp_path / f"{name}.svs").touch()
    (tmp_path / "slides.csv").write_text("slide_id,path,time,event\na,a.svs,12.5,1\nb,b.svs,3,0\nc,c.svs,,\n")
    slides = read_slide_sheet(tmp_path / "slides.csv", tmp_path, make_task("survival"))
    assert [slide.label for slide in slides] == ["12.5", "3+", ""]
    (tmp_path / "slides.csv").write_text('slide_id,path,label\na,a.svs,1.5\nb,b.svs,"1,5"\n')
    with pytest.raises(SheetError, match="slide 'b' has label '1,5'; expected a number, with a decimal point"):
        read_slide_sheet(tmp_path / "slides.csv", tmp_path, make_task("regression"))
