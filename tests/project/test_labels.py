from pathlib import Path

import pytest

from roformermil.errors import SheetError
from roformermil.project.label_table import read_cells
from roformermil.project.labels import join_labels
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
    assert joined.carried == {"case01_a": {"mpp": "0.5", "exclude": "torn", "site": "A", "note": "hello"}}
    assert joined.patients == {"case01_a": "p1"} and joined.labels == {"case01_a": "x"}


SHEET = "slide_id,path,Patient ID,MPP,time,event,label,site,her2,note\n"
ROW = "case01_a,x/case01_a.svs,p1,0.5,5,1,x,A,yes,hello\n"


def test_the_users_own_columns_are_kept_of_a_slide_sheet_alone(join):
    joined = join(SHEET + ROW)
    assert joined.own == {"case01_a": {"time": "5", "event": "1", "her2": "yes"}}
    assert joined.carried == {"case01_a": {"mpp": "0.5", "site": "A", "note": "hello"}}
    assert joined.patients == {"case01_a": "p1"}
    assert join(SHEET + ROW, task=Survival()).own == {"case01_a": {"label": "x", "her2": "yes"}}
    other = join("slide,label,name\ncase01_a,x,Miller\n")
    assert other.own_columns == [] and other.own == {"case01_a": {}}


def test_a_column_of_a_slide_sheet_stays_where_its_labels_are_taken_as_others(join):
    joined = join(SHEET + ROW, columns=["her2"])
    assert joined.labels == {"case01_a": "yes"} and joined.own["case01_a"]["her2"] == "yes"
    assert "column label of labels.csv is replaced" in joined.notes
    assert join(SHEET + ROW, columns=["site"]).carried["case01_a"]["site"] == "A"
    assert "tissue" not in join("slide,tissue\ncase01_a,lung\n", columns=["tissue"]).carried["case01_a"]


def test_of_several_rows_of_a_slide_blank_cells_do_not_count_and_others_are_told(join):
    joined = join("slide_id,path,label,age,site\n,,,,\ncase01_a,a,x,60,A\ncase01_a,a,x,,\ncase01_a,a,x,61,B\n")
    assert joined.own["case01_a"] == {"age": "60"} and joined.carried["case01_a"] == {"site": "A"}
    assert "rows of a slide that differ, the first counts: case01_a (site, age)" in joined.mismatches


def test_what_is_no_label_yet_stays_in_a_slide_sheet(join):
    text = "slide_id,path,time,event\ncase01_a,a,5,\ncase01_b,b,5,maybe\ncase02_a,c,7,0\nS19-7,d,NA,\n"
    joined = join(text, task=Survival())
    assert joined.labels == {"case02_a": "7+"}
    assert joined.unfinished == {"case01_a": {"time": "5", "event": ""}, "case01_b": {"time": "5", "event": "maybe"}}
    assert joined.mismatches == ["1 slide with a blank label in the table: S19-7"]
    half = join("slide,time,event\ncase01_a,5,\ncase02_a,7,0\n", task=Survival())
    assert half.unfinished == {}
    assert half.mismatches[0] == "1 slide with only one of time and event, both left blank: case01_a"


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
    for wrong in (["OS"], ["OS", "OS"]):
        with pytest.raises(SheetError, match="--task survival takes --label-column TIME --label-column EVENT, not OS"):
            join(text, task=Survival(), columns=wrong)
    with pytest.raises(
        SheetError, match="takes --label-column LABEL, not OS.time OS; for a time and an event add --task"
    ):
        join(text, columns=["OS.time", "OS"])
    with pytest.raises(SheetError, match="no column has the event"):
        join("case,time,age\ncase01,5,61\n", task=Survival())
    with pytest.raises(SheetError, match="For a time and an event add --task survival"):
        join("case,OS.time,OS\ncase01,5,1\ncase02,6,1\n")


def test_numbers_are_joined_in_one_spelling(join):
    joined = join("slide,sex,score\ncase01_a,f,1\ncase01_b,f,1.0\ncase02_a,m,NA\nS19-7,m,-2.5\n", task=Regression())
    assert joined.labels == {"case01_a": "1", "case01_b": "1", "S19-7": "-2.5"}


def test_cells_that_are_no_label_of_the_task_are_refused_before_anything_is_written(join):
    with pytest.raises(SheetError, match=r"labels.csv, slide 'case01_a': event 'maybe'; expected 1"):
        join("slide,time,event\ncase01_a,5,maybe\n", task=Survival())
    with pytest.raises(SheetError, match=r"slide 'case01_a': label '1,5'; expected a number, with a decimal point"):
        join("slide;label\ncase01_a;1,5\ncase01_b;2\n", task=Regression())


GDC = "case_id,vital_status,days_to_death,days_to_last_follow_up,age\ncase01,Dead,50,'--,61\ncase02,Alive,'--,900,50\n"


def test_patients_without_an_event_have_the_time_of_their_last_follow_up(join):
    joined = join(GDC, task=Survival())
    assert joined.labels == {"case01_a": "50", "case01_b": "50", "case02_a": "900+"}
    assert (
        "time is column 'days_to_death' and event is column 'vital_status' (without an event 'days_to_last_f"
        in (joined.notes[0])
    )
    with pytest.raises(SheetError, match="1 row without an event, none of which has a time in column 'days_to_death'"):
        join(GDC.replace("last_follow_up", "consent"), task=Survival())


EVENTS = {"yes": 1, "Y": 1, "TRUE": 1, "1.00": 1, "Deceased": 1, "no": 0, "N": 0, "Censored": 0, "0.0": 0, "0:x": 0}


@pytest.mark.parametrize(("cell", "event"), EVENTS.items())
def test_events_are_read_however_they_are_written(join, cell, event):
    joined = join(f"slide,time,event\ncase01_a,5,{cell}\ncase02_a,5,0\n", task=Survival())
    assert joined.labels["case01_a"] == "5" + "+" * (not event)


def test_a_cell_that_is_no_event_is_shown_as_it_is(join):
    for cell in ("2020-01-01 00:00:00", "x1:foo", "2"):
        with pytest.raises(SheetError, match=f"slide 'case01_a': event '{cell}'; expected 1"):
            join(f"slide,time,event\ncase01_a,5,{cell}\n", task=Survival())


def test_columns_are_not_taken_for_what_they_may_not_be(join):
    with pytest.raises(SheetError, match="no column has the time. Add columns time and event, or name"):
        join("slide,years,event\ncase01_a,61,1\n", task=Survival())
    text = "slide_id,OS.time,time,event\ncase01_a,9,5,1\n"
    assert join(text, task=Survival()).labels == {"case01_a": "5"}
    numbers = "slide,grade,score,empty\ncase01_a,low,1.5,\ncase01_b,high,2,\n"
    assert join(numbers, task=Regression()).labels == {"case01_a": "1.5", "case01_b": "2"}
    with pytest.raises(SheetError, match="column 'label' has numbers, such as -0.5: add --task regression"):
        join("slide,label\ncase01_a,-0.5\ncase01_b,1\n")
    with pytest.raises(SheetError, match="has columns time and event, but no label: add --task survival"):
        join("slide_id,time,event,grade\ncase01_a,5,1,G1\n")


def test_a_mistake_is_told_once_for_all_slides_of_a_patient(join):
    text = "case,time,event\ncase01,x,1\ncase02,y,1\nP7,5,0\n"
    with pytest.raises(SheetError) as error:
        join(text, task=Survival())
    first, second = str(error.value).splitlines()
    assert "case 'case01': time 'x'; expected a number" in first and "case 'case02': time 'y'" in second


def test_a_class_has_the_spelling_of_most_slides(join):
    text = "slide,label\ncase01_a,Tumor\ncase01_a,Tumor\ncase01_a,Tumor\ncase01_b,tumor\ncase02_a,tumor\n"
    assert set(join(text).labels.values()) == {"tumor"}


MISTAKES = {
    "slide,label,label\ncase01_a,x,y\n": "several columns are called 'label': rename all but one",
    "slide,label,age\ncase01_a,x,good, but old\n": "the row of 'case01_a' has 4 cells, but the header has 3: quote cells",
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
