import gzip
import io
import zipfile

import pytest

from roformermil.cohort.sheet_text import read_table
from roformermil.errors import SheetError

COMMON = "slide_id,patient_id,label,path"
TEXT = "slide_id,patient_id,label,path\ns1,Müller,x,a.svs\n"
SAVE = r"save it as CSV UTF-8 \(comma delimited\)"


def zipped(*names):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "content")
    return file.getvalue()


def table_of(folder, content):
    (folder / "sheet.csv").write_bytes(content)
    return read_table(folder / "sheet.csv")


OTHER_FILES = [
    (zipped("[Content_Types].xml", "xl/workbook.xml"), rf"is an Excel workbook \(.xlsx\), not CSV text: .*{SAVE}"),
    (
        b"PK\x03\x04" + b"mimetypeapplication/vnd.oasis.opendocument.spreadsheet",
        r"an OpenDocument spreadsheet \(.ods\)",
    ),
    (zipped("sheet.csv"), "is a zip archive, not CSV text: unpack it"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512), rf"is an Excel workbook \(.xls\), not CSV text: .*{SAVE}"),
    (gzip.compress(TEXT.encode(), mtime=0), "is compressed by gzip, .* gunzip"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS .* git lfs pull"),
    (b"\n<!DOCTYPE html><html></html>", "is an HTML or XML page"),
    (b"%PDF-1.7", "is a PDF"),
    (TEXT.encode("utf-16"), f"is UTF-16 text .*, not UTF-8: {SAVE}"),
    (TEXT.encode("utf-16-le"), f"is UTF-16 text .*, not UTF-8: {SAVE}"),
    (TEXT.encode("utf-16-be"), f"is UTF-16 text .*, not UTF-8: {SAVE}"),
    (TEXT.encode("latin-1"), f"not UTF-8 .* Windows-1252 .*, in which its row 2 is 's1,Müller,x,a.svs': {SAVE}"),
    (TEXT.encode() + b"\0\1\2", "is a binary file"),
    (TEXT.replace(",", "\t").encode(), f"its cells are separated by tabs, not commas: {SAVE}"),
    (TEXT.replace(",", ";").encode("utf-8-sig"), f"separated by semicolons, not commas: {SAVE}"),
    (TEXT.replace(",", "|").encode(), r"separated by '\|', not commas"),
    (TEXT.replace(",", " ").encode(), "separated by spaces, not commas"),
    (b"\n" + TEXT.replace(",", ";").replace("_", " ").title().encode(), "separated by semicolons"),
    (b"sep=,\r\n" + TEXT.encode(), "the first line, 'sep=,', is an instruction to Excel: remove it"),
    (b"", "is empty"),
    (b"\xef\xbb\xbf\r\n,,,\r\n", "is empty"),
    (
        b"s1,p1,x,a.svs\ns2,p2,y,b.svs\n",
        r"first row must name the columns \(slide_id, path\), but it is 's1,p1,x,a.svs'",
    ),
    (TEXT.encode() + b's2,"p2,x,b.svs\ns3,p3,x,c.svs\n', r"row 3: a quote \(\"\) is not closed"),
]
COLUMNS = [
    ("slide_id,label", ["no column 'path'"]),
    ("slide_id,path,case,label", ["no column 'patient_id': is it your column 'case'? Rename it, or add patient_id"]),
    ("slide_id,path,Subject ID", ["no column 'patient_id': is it your column 'Subject ID'?"]),
    (
        "slide,patient,label,file",
        ["no column 'slide_id': is it your column 'slide'?", "no column 'path'", "'patient'?"],
    ),
    (
        "Slide ID,patientID,lable,PATH",
        [
            f"column {given!r}: did you mean {known!r}?"
            for given, known in zip(
                ("Slide ID", "patientID", "lable", "PATH"), ("slide_id", "patient_id", "label", "path"), strict=True
            )
        ],
    ),
    (f"{COMMON},mppp", ["column 'mppp': did you mean 'mpp'?"]),
    (f"{COMMON},MPP", ["column 'MPP': did you mean 'mpp'?"]),
    (f"{COMMON},microns_per_pixel", ["column 'microns_per_pixel': did you mean 'mpp'?"]),
    (f"{COMMON},excluded,tisue", ["did you mean 'exclude'?", "did you mean 'tissue'?"]),
    (f"{COMMON},path,path", ["duplicate column 'path'"]),
]
# columns of clinical tables, a spreadsheet's empty last column and pandas' index
OTHERS = "age,sex,Stage,grade,survival_days,sites,side,node,type,size,tissue_type,tissue_site,issue,patient,case,mmp9,os,age,,"


@pytest.mark.parametrize(("content", "message"), OTHER_FILES, ids=range(len(OTHER_FILES)))
def test_what_is_not_a_slide_sheet_is_told_for_what_it_is(tmp_path, content, message):
    with pytest.raises(SheetError, match=message) as error:
        table_of(tmp_path, content)
    assert str(error.value).startswith(f"{tmp_path}/sheet.csv")


@pytest.mark.parametrize(("columns", "mistakes"), COLUMNS)
def test_missing_and_misspelt_columns_are_named_together(tmp_path, columns, mistakes):
    with pytest.raises(SheetError) as error:
        table_of(tmp_path, f"{columns}\ns1,p1,x,a.svs\n".encode())
    lines = str(error.value).splitlines()
    assert len(lines) == len(mistakes) and all(map(str.__contains__, lines, mistakes)), lines
    assert "Required are slide_id, path; optional patient_id, label, mpp, tissue" in lines[-1]


def test_other_columns_are_the_users_own(tmp_path):
    assert table_of(tmp_path, f",{COMMON},{OTHERS}\n".encode()) == (["", *COMMON.split(","), *OTHERS.split(",")], [])


def test_ids_and_paths_are_enough(tmp_path):
    assert table_of(tmp_path, b"slide_id,path,age\ns1,a.svs,60\n")[1] == [(2, ["s1", "a.svs", "60"])]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_sheets_of_all_programs_are_read(tmp_path, encoding, end):
    text = '"slide_id" , patient_id,label,path\ns1,"Müller, A.",x, a.svs\n , ,,\n"s2",p2,x,"b\u2028 c.svs"\n'
    columns, rows = table_of(tmp_path, text.replace("\n", end).encode(encoding))
    assert columns == ["slide_id", "patient_id", "label", "path"]
    assert rows == [(2, ["s1", "Müller, A.", "x", "a.svs"]), (4, ["s2", "p2", "x", "b\u2028 c.svs"])]


def test_a_comma_sheet_with_other_separators_in_its_cells_is_one(tmp_path):
    assert table_of(tmp_path, b"slide_id,patient_id,label , path ,note; label; path\ns1,p1,x,a b.svs,c;d\n")[1] == [
        (2, ["s1", "p1", "x", "a b.svs", "c;d"])
    ]
