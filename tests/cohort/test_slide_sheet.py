from dataclasses import replace

import pytest

from roformermil.cohort.slide_sheet import Slide, read_slide_sheet, sheet_warnings
from roformermil.errors import SheetError

HEADER = "slide_id,patient_id,label,path,mpp\n"
MISTAKES = [
    ("slide_id,patient_id,label\n", "no column 'path'"),
    ("slide_id,patient_id,label,path,mppp\n", "unknown column 'mppp'"),
    (HEADER, "no rows"),
    (HEADER + "s1,p1,x,a.svs,\ns1,p2,y,a.svs,\n", r"duplicate slide_id 's1' \(rows 2 and 3\)"),
    (HEADER + "s1,,x,a.svs,\n", "row 2: slide 's1' has no patient_id"),
    (HEADER + "s1,p1,z,a.svs,\n", "row 2: slide 's1' has label 'z'; expected one of x, y"),
    (HEADER + "s1,p1,x,c.svs,\n", "row 2: slide 's1': no file at .*c.svs"),
    (HEADER + "s1,p1,x,../slides.csv,\n", "row 2: path .* is not inside the root"),
    (HEADER + "s1,p1,x,/etc/hosts,\n", "row 2: path .* is not inside the root"),
    (HEADER + "../s1,p1,x,a.svs,\n", "row 2: slide_id '../s1' may only have letters"),
    (HEADER + "s1,p1,x,a.svs,zero\n", "row 2: mpp 'zero' of slide 's1' is not a positive number"),
    (HEADER + "s1,p1,x,a.svs,-1\n", "row 2: mpp '-1'"),
    (HEADER + "s1,p1,x\n", "row 2: 3 cells, but the header has 5"),
    (HEADER + "s1,p1,x,a.svs,0,25\n", "row 2: 6 cells, but .*decimal comma"),
    (HEADER + "\ns1,p1,x,a.svs,\n\ns2,p2,y,a.svs,\n", "row 5: slide 's2' is the same file as slide 's1'"),
    ("slide_id,patient_id,label,path,path\n", "duplicate column 'path'"),
]


@pytest.fixture
def sheet(tmp_path):
    (tmp_path / "root").mkdir()
    for name in "abd":
        (tmp_path / f"root/{name}.svs").touch()

    def read(text, **options):
        (tmp_path / "slides.csv").write_text(text)
        return read_slide_sheet(tmp_path / "slides.csv", tmp_path / "root", ["x", "y"], **options)

    return read


def test_rows_are_read_without_spaces_around_cells_and_the_mpp_column_may_be_left_out(sheet, tmp_path):
    (tmp_path / "root/c.zarr").mkdir()  # an OME-Zarr is a folder
    one, two = sheet(HEADER + "s1,p1,x,a.svs,0.25\ns2,p1,y,c.zarr,\n")
    assert one == Slide("s1", "p1", "x", tmp_path / "root/a.svs", 0.25)
    assert two == Slide("s2", "p1", "y", tmp_path / "root/c.zarr", None)
    assert sheet("slide_id , patient_id,label ,path\n s1 , p1 , x , a.svs\n") == [replace(one, mpp=None)]


@pytest.mark.parametrize(("text", "expected"), MISTAKES)
def test_errors_name_the_row_and_what_was_expected(sheet, text, expected):
    with pytest.raises(SheetError, match=expected):
        sheet(text)


def test_a_slides_own_tissue_settings_are_checked(sheet):
    text = 'slide_id,patient_id,label,path,tissue\ns1,p1,x,a.svs,"{threshold: 4}"\ns2,p1,x,b.svs,\n'
    assert [slide.tissue for slide in sheet(text)] == ["{threshold: 4}", ""]
    with pytest.raises(SheetError, match=r"row 2: tissue of slide 's1': tresh: unknown key; did you mean `thres"):
        sheet(text.replace("threshold", "tresh"))


def test_absolute_paths_are_a_permission(sheet, tmp_path):
    (tmp_path / "a.svs").touch()
    with pytest.raises(SheetError, match="is not inside the root.*allow_absolute"):
        sheet(f"{HEADER}s1,p1,x,{tmp_path}/a.svs,\n")
    assert sheet(f"{HEADER}s1,p1,x,{tmp_path}/a.svs,\n", allow_absolute=True)[0].path == tmp_path / "a.svs"
    with pytest.raises(SheetError, match="is not inside the root"):  # a relative path never leaves it
        sheet(f"{HEADER}s1,p1,x,../a.svs,\n", allow_absolute=True)


def test_patients_with_several_classes_are_a_warning(sheet):
    rows = "s1,p1,x,a.svs,\ns2,p2,y,b.svs,\n"
    assert sheet_warnings(sheet(HEADER + rows)) == []
    (line,) = sheet_warnings(sheet(HEADER + rows + "s3,p2,x,d.svs,\n"))
    assert line.startswith("patients with slides of several classes: p2.")


def test_a_missing_sheet_is_named_and_all_mistakes_of_a_sheet_are_reported_together(sheet, tmp_path):
    with pytest.raises(SheetError, match=f"{tmp_path}/none.csv: no such slide sheet"):
        read_slide_sheet(tmp_path / "none.csv", tmp_path)
    with pytest.raises(SheetError) as error:
        sheet(HEADER + "".join(f"s{k},p{k},{'xz'[k % 2]},a{k}.svs,\n" for k in range(14)))
    lines = str(error.value).splitlines()
    assert len(lines) == 11 and lines[-1] == "and 4 more"
    assert "row 2: slide 's0': no file at" in lines[0] and "row 3: slide 's1' has label 'z'" in lines[1]
