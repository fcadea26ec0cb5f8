from pathlib import Path

import pytest

from roformermil.errors import SheetError
from roformermil.project.labels import join_labels, read_cells
from roformermil.tasks import CLASSIFICATION, Regression, Survival

SLIDES = {
    "case01_a": (Path("x/case01_a.svs"), ""),
    "case01_b": (Path("x/case01_b.svs"), ""),
    "case02_a": (Path("y/case02_a.ndpi"), ""),
    "S19-7": (Path("S19-7.mrxs"), "P7"),
}


@pytest.fixture
def join(tmp_path):
    """join(text, ...) joins a CSV file of this text to SLIDES."""

    def join(text, slides=SLIDES, columns=(), task=CLASSIFICATION):
        (tmp_path / "labels.csv").write_text(text)
        return join_labels(tmp_path / "labels.csv", slides, columns, task)

    return join


BY_SLIDE = {"case01_a": "benign", "case01_b": "benign", "case02_a": "tumor", "S19-7": "tumor"}
TABLES = {
    "slide ids": "slide_id,label\ncase01_a,benign\ncase01_b,benign\ncase02_a,tumor\nS19-7,tumor\n",
    "file names": "file,label\ncase01_a.svs,benign\ncase01_b.svs,benign\ncase02_a.ndpi,tumor\nS19-7.mrxs,tumor\n",
    "file names with another ending": "image,class\ncase01_a.tif,benign\ncase01_b.tif,benign\ncase02_a,tumor\nS19-7,tumor\n",
    "paths": "p,label\nx/case01_a.svs,benign\nC:\\\\x\\\\case01_b.svs,benign\n/d/case02_a.ndpi,tumor\n./S19-7.mrxs,tumor\n",
    "another spelling": "id;Label\nCASE01-A;benign\ncase 1 b;benign\ncase02_a;tumor\ns19_007;tumor\n",
    "patients": "patient\tdiagnosis\ncase01\tbenign\ncase02\ttumor\nP7\ttumor\n",
    "tabs, other columns": "age\tslide\tsubtype\tsex\n60\tcase01_a\tbenign\tf\n61\tcase01_b\tbenign\tm\n"
    "62\tcase02_a\ttumor\tf\n63\tS19-7\ttumor\tm\n",
}


@pytest.mark.parametrize("text", TABLES.values(), ids=TABLES)
def test_labels_are_joined_however_slides_and_columns_are_called(join, text):
    joined = join(text)
    assert joined.labels == BY_SLIDE and joined.mismatches == []


def test_patients_of_the_table_are_taken_over(join):
    assert join(TABLES["patients"]).patients == {
        "case01_a": "case01",
        "case01_b": "case01",
        "case02_a": "case02",
        "S19-7": "P7",
    }
    joined = join("slide,case_id,label\ncase01_a,C1,a\ncase01_b,C1,b\n")
    assert joined.patients == {"case01_a": "C1", "case01_b": "C1"}
    assert joined.patient_source == "column 'case_id' of labels.csv"


def test_of_patients_whose_names_begin_alike_the_longest_counts(join):
    slides = {name: (Path(f"{name}.svs"), "") for name in ("P1_a", "P1_2_a", "P12_a")}
    joined = join("patient,label\nP1,a\nP1_2,b\nP12,c\n", slides)
    assert joined.labels == {"P1_a": "a", "P1_2_a": "b", "P12_a": "c"}


def test_a_file_name_of_several_slides_names_none_but_their_paths_do(join):
    slides = {"p1_HE": (Path("p1/HE.svs"), ""), "p2_HE": (Path("p2/HE.svs"), "")}
    joined = join("file,label\nHE.svs,a\np1/HE.svs,b\np2/HE.svs,c\n", slides)
    assert joined.labels == {"p1_HE": "b", "p2_HE": "c"}
    assert joined.mismatches == ["1 row of labels.csv without a slide in the folder: HE.svs"]


def test_all_that_does_not_fit_is_said(join):
    text = "slide,label\ncase01_a,x\ncase01_a,y\ncase01_b,NA\nother,x\nelse,\n,x\ncase02_a,y\n"
    joined = join(text)
    assert joined.labels == {"case02_a": "y"}
    assert joined.mismatches == [
        "contradictory labels, left blank: case01_a (x, y)",
        "1 slide with a blank label in the table: case01_b",
        "1 slide without a row in labels.csv, label left blank: S19-7",
        "3 rows of labels.csv without a slide in the folder: other, else, (blank)",
    ]


def test_labels_become_names_of_classes_in_one_spelling(join):
    text = "slide,label\ncase01_a,Lobular carcinoma\ncase01_b,lobular  carcinoma\ncase02_a,Lobular carcinoma\nS19-7,HER2+\n"
    joined = join(text)
    assert set(joined.labels.values()) == {"Lobular_carcinoma", "HER2_pos"}
    assert "'HER2+' is HER2_pos" in joined.notes[1] and "'lobular  carcinoma' is Lobular_carcinoma" in joined.notes[1]
    signs = join("slide,label\ncase01_a,ER+\ncase01_b,ER-\ncase02_a,1.0\nS19-7,1\n")
    assert signs.labels == {"case01_a": "ER_pos", "case01_b": "ER_neg", "case02_a": "1", "S19-7": "1"}
    alike = join("slide,label\ncase01_a,a b\ncase01_b,(a) b\ncase02_a,a b\n")
    assert alike.labels["case01_a"] == "a_b" and alike.labels["case01_b"] != "a_b"


def test_columns_of_the_slide_sheet_are_taken_over(join):
    text = "slide_id,patient_id,label,path,mpp,exclude,site,note\ncase01_a,p1,x,x/case01_a.svs,0.5,torn,A,hello\n"
    joined = join(text)
    assert joined.carried == {"case01_a": {"mpp": "0.5", "exclude": "torn", "site": "A"}}
    assert joined.patients == {"case01_a": "p1"} and joined.labels == {"case01_a": "x"}


def test_the_users_own_columns_are_kept_of_a_slide_sheet_alone(join):
    text = "slide_id,path,time,event,label,age,note\ncase01_a,x/case01_a.svs,5,1,x,61,hello\n"
    assert join(text).extra == {"case01_a": {"time": "5", "event": "1", "age": "61"}}
    assert join(text, task=Survival()).extra == {"case01_a": {"label": "x", "age": "61"}}
    assert join("slide,label,name\ncase01_a,x,Miller\n").extra == {"case01_a": {}}


def test_the_column_of_labels_can_be_named(join):
    text = "slide,grade,her2\ncase01_a,1,yes\ncase01_b,2,no\n"
    assert join(text).labels == {"case01_a": "1", "case01_b": "2"}
    assert join(text, columns=["HER2"]).labels == {"case01_a": "yes", "case01_b": "no"}
    with pytest.raises(SheetError, match="no column 'her' for labels; did you mean 'her2'"):
        join(text, columns=["her"])
    with pytest.raises(SheetError, match="no column 'xyz' for labels; it has grade, her2"):
        join(text, columns=["xyz"])


TIMES = {
    "the slide sheet's": "slide_id,time,event\ncase01_a,5,1\ncase01_b,5.0,1\ncase02_a,7,0\nS19-7,,\n",
    "TCGA-CDR, one endpoint": "bcr_patient,OS,OS.time\ncase01,1,5\ncase02,0,7\nP7,NA,NA\n",
    "cBioPortal": "Patient ID\tOS_STATUS\tOS_MONTHS\ncase01\t1:DECEASED\t5\ncase02\t0:LIVING\t7\n",
    "cBioPortal, another endpoint": "Patient ID\tPFS_STATUS\tPFS_MONTHS\ncase01\t1:PROGRESSION\t5\ncase02\t0:CENSORED\t7\n",
    "words": "patient;vital status;days to death;age\ncase01;Dead;5;61\ncase02;Alive;7;50\nP7;Alive;;50\n",
}


@pytest.mark.parametrize("text", TIMES.values(), ids=TIMES)
def test_times_and_events_are_joined_however_tables_write_them(join, text):
    joined = join(text, task=Survival())
    assert joined.labels == {"case01_a": "5", "case01_b": "5", "case02_a": "7+"}
    assert joined.notes[0].startswith("time is column ") and " and event is column " in joined.notes[0]


def test_of_several_endpoints_one_is_named(join):
    text = "case,OS,OS.time,PFI,PFI.time\ncase01,1,5,1,3\ncase02,0,7,1,6\n"
    with pytest.raises(
        SheetError, match=r"which column has the time: OS.time, PFI.time\? Name both, with --label-column"
    ):
        join(text, task=Survival())
    joined = join(text, task=Survival(), columns=["pfi.time", "PFI"])
    assert joined.labels == {"case01_a": "3", "case01_b": "3", "case02_a": "6"}
    with pytest.raises(
        SheetError, match="the labels of survival are 2: name --label-column TIME and --label-column EVENT"
    ):
        join(text, task=Survival(), columns=["OS"])
    with pytest.raises(SheetError, match="no column has the event"):
        join("case,time,age\ncase01,5,61\n", task=Survival())
    with pytest.raises(SheetError, match="For a time and an event add --task survival"):
        join("case,OS.time,OS\ncase01,5,1\ncase02,6,1\n")


def test_numbers_are_joined_in_one_spelling(join):
    joined = join("slide,sex,score\ncase01_a,f,1\ncase01_b,f,1.0\ncase02_a,m,NA\nS19-7,m,-2.5\n", task=Regression())
    assert joined.labels == {"case01_a": "1", "case01_b": "1", "S19-7": "-2.5"}


def test_cells_that_are_no_label_of_the_task_are_refused_before_anything_is_written(join):
    with pytest.raises(SheetError, match=r"labels.csv, slide case01_a: event 'maybe'; expected 1"):
        join("slide,time,event\ncase01_a,5,maybe\n", task=Survival())
    with pytest.raises(SheetError, match=r"slide case01_a: label '1,5'; expected a number, with a decimal point"):
        join("slide;label\ncase01_a;1,5\ncase01_b;2\n", task=Regression())


MISTAKES = {
    "slide,label\nother,x\n": r"none of its rows names a slide. The slides are 'case01_a'.*first row is slide: 'other', label: 'x'",
    "slide,age,weight\ncase01_a,61,80\ncase01_b,62,81\n": r"which column has the labels\? Name it with --label-column: age \(61, 62\)",
    "slide\ncase01_a\n": "Name it with --label-column: no other column",
    "slide,label\n": "needs a header that names its columns, and rows",
}


@pytest.mark.parametrize(("text", "message"), MISTAKES.items())
def test_tables_without_slides_or_labels_are_refused(join, text, message):
    with pytest.raises(SheetError, match=message):
        join(text)


def test_what_is_no_table_is_told_for_what_it_is(tmp_path):
    (tmp_path / "labels.csv").write_bytes(b"%PDF-1.7")
    with pytest.raises(SheetError, match="the table of labels is a PDF, not CSV text"):
        read_cells(tmp_path / "labels.csv")
    with pytest.raises(SheetError, match=r"none.csv: no such table of labels$"):
        read_cells(tmp_path / "none.csv")


def test_workbooks_are_read(tmp_path):
    import openpyxl

    book = openpyxl.Workbook()
    for row in (["slide", "label", "age"], ["case01_a", 1, 60.5], [None, None, None], ["case01_b", "Müller", None]):
        book.active.append(row)
    book.save(tmp_path / "labels.xlsx")
    columns, rows = read_cells(tmp_path / "labels.xlsx")
    assert columns == ["slide", "label", "age"] and [row["label"] for row in rows] == ["1", "Müller"]
    (tmp_path / "bad.xlsx").write_text("no workbook")
    for name, problem in (("bad.xlsx", "is no workbook"), ("none.xlsx", "no such table of labels")):
        with pytest.raises(SheetError, match=f"{name}: {problem}"):
            read_cells(tmp_path / name)
