import shutil
from pathlib import Path

import pytest

from roformermil.cohort.slide_sheet import read_slide_sheet
from roformermil.config import load_config
from roformermil.errors import ConfigError, SheetError
from roformermil.project.begin import Choices, begin
from roformermil.project.begin_text import describe_project
from roformermil.tasks import task_of
from tests.factories import read_rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory, slide, broken):
    """Twelve slides of four patients, one of them without a resolution, a damaged file and two that are no slides."""
    import tifffile

    folder = tmp_path_factory.mktemp("folder") / "slides"
    for k in range(12):
        (folder / f"case{k // 3}").mkdir(parents=True, exist_ok=True)
        shutil.copy(slide, folder / f"case{k // 3}/HE {k}.tif")
    with tifffile.TiffFile(slide) as tiff:
        tifffile.imwrite(folder / "case3/HE 11.tif", tiff.asarray(), tile=(256, 256), photometric="rgb")
    shutil.copy(broken / "text.svs", folder / "case0/broken.svs")
    (folder / "notes.docx").write_bytes(b"PK\3\4")
    (folder / "case1/Thumbs.db").touch()
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def labels(here):
    rows = [f"HE {k}.tif,{'normal' if k % 2 else 'tumor'},{k // 6}" for k in range(11)]
    (here / "labels.csv").write_text("\n".join(["image,diagnosis,site", *rows, "HE 99.tif,tumor,1"]) + "\n")
    return here / "labels.csv"


def make(folder, out="mine", force=False, **choices):
    return begin(folder, Path(out), Choices(**choices), force, progress=False)


def test_a_folder_becomes_a_sheet_and_a_configuration_that_can_be_read(folder, here):
    project = make(folder)
    rows = read_rows(here / "mine.csv")
    assert list(rows[0]) == ["slide_id", "patient_id", "label", "path", "mpp", "exclude", "note"]
    by_id = {row["slide_id"]: row for row in rows}
    assert set(by_id) == {f"HE_{k}" for k in range(12)} | {"broken"}
    assert by_id["HE_4"]["path"] == "case1/HE 4.tif" and by_id["HE_4"]["patient_id"] == "case1"
    assert by_id["HE_4"]["note"] == "generic-tiff, 1500 x 1200 px, 0.5 um/px (TIFF tag)"
    assert by_id["broken"]["exclude"].startswith("unreadable: this is a text file, not a slide")
    assert by_id["HE_11"]["note"].startswith("no_mpp: ") and not by_id["HE_11"]["exclude"]
    dataset = load_config(here / "mine.yaml").datasets["mine"]
    slides = read_slide_sheet(dataset.slides, dataset.root, dataset.classes)
    assert len(slides) == 13 and len(project.facts.labels) == 12 and project.mistakes == []


def test_the_text_says_what_was_found_what_is_left_and_how_to_go_on(folder, here):
    lines = describe_project(make(folder)).splitlines()
    assert lines[:4] == [
        f"13 slides in {folder}",
        "  11 x generic-tiff, 0.5 um/px (TIFF tag)",
        "  1 x generic-tiff, no usable resolution",
        "excluded: broken: unreadable: this is a text file, not a slide: give the scanner's own file (it starts: not a slide)",
    ]
    assert "1 file left out, a zip archive: unzip it: notes.docx" in "\n".join(lines).replace(" (", ", ").replace(
        "): ", ": "
    )
    assert "4 patients, from the 4 folders case0, case1, case2 and 1 more: check column patient_id" in lines
    assert f"Written: {here}/mine.csv (slide sheet) and {here}/mine.yaml (configuration)" in lines
    mpp, label = (line for line in lines if line.startswith("- "))
    assert "column mpp of 1 slide without a usable resolution (HE_11): um/px, about 0.25 for a scan at 40x" in mpp
    assert f"roformermil init {folder} --labels mine.csv --force --out mine" in label
    assert lines[-3:-1] == [
        "  roformermil check mine.yaml",
        "  roformermil run mine.yaml tissue    # and look at results/mine/mine/tissue.html",
    ]
    assert lines[-1] == "  roformermil run mine.yaml features"


def test_a_table_of_labels_is_joined_and_what_does_not_fit_is_told(folder, here, labels):
    project = make(folder, labels=labels)
    config = load_config(here / "mine.yaml")
    assert config.datasets["mine"].classes == ["normal", "tumor"] and config.folds.count == 3
    assert {row["slide_id"]: row["site"] for row in read_rows(here / "mine.csv")}["HE_7"] == "1"
    text = describe_project(project)
    assert "2 slides without a row in labels.csv, label left blank: broken, HE_11" in text
    assert "1 row of labels.csv without a slide in the folder: HE 99.tif" in text
    assert "class normal: 5 slides of 4 patients\nclass tumor: 6 slides of 4 patients" in text
    assert text.endswith("  roformermil run mine.yaml") and "column label" not in text


def test_what_the_user_filled_in_is_kept_and_fits_the_configuration(folder, here):
    make(folder)
    text = (here / "mine.csv").read_text().replace("HE 11.tif,,", "HE 11.tif,0.5,")
    text = "".join(f"{line},{'age' if k == 0 else 50 + k}\n" for k, line in enumerate(text.splitlines()))
    for k in range(12):
        text = text.replace(f",case{k // 3},,case{k // 3}/HE {k}.tif", f",P{k},{'ab'[k % 2]},case{k // 3}/HE {k}.tif")
    (here / "mine.csv").write_text(text)
    text = describe_project(make(folder, labels=Path("mine.csv"), force=True))
    assert "Left to fill in" not in text
    rows = {row["slide_id"]: row for row in read_rows(here / "mine.csv")}
    assert [rows[f"HE_{k}"]["patient_id"] for k in range(12)] == [f"P{k}" for k in range(12)]
    assert rows["HE_11"]["mpp"] == "0.5" and rows["HE_11"]["note"].endswith("0.5 um/px (slide sheet)")
    assert rows["broken"]["exclude"].startswith("unreadable: ")
    assert sorted(row["age"] for row in rows.values()) == [str(age) for age in range(51, 64)]
    assert load_config(here / "mine.yaml").datasets["mine"].classes == ["a", "b"]


def test_survival_begins_with_times_and_events_and_keeps_them(folder, here):
    rows = [f"case{k},{10 + k},{k % 2}" for k in range(4)]
    (here / "follow_up.csv").write_text("\n".join(["patient,OS_MONTHS,OS_EVENT", *rows]) + "\n")
    text = describe_project(make(folder, labels=Path("follow_up.csv"), task="survival"))
    assert "12 slides with a label: 6 with an event (2 patients), the others censored" in text
    rows = read_rows(here / "mine.csv")
    assert list(rows[0]) == ["slide_id", "patient_id", "time", "event", "path", "mpp", "exclude", "note"]
    assert {row["slide_id"]: row["time"] + row["event"] for row in rows}["HE_4"] == "111"
    config = load_config(here / "mine.yaml")
    assert config.task == "survival" and config.folds.count == 3
    slides = read_slide_sheet(here / "mine.csv", config.datasets["mine"].root, task_of(config, "mine"))
    assert {slide.slide_id: slide.label for slide in slides}["HE_0"] == "10+"
    before = (here / "mine.csv").read_text()
    with pytest.raises(ConfigError, match="`--labels mine.csv --task survival --force` keeps what you filled in"):
        make(folder)
    make(folder, labels=Path("mine.csv"), force=True)  # the task is that of the configuration
    assert (here / "mine.csv").read_text() == before and load_config(here / "mine.yaml").task == "survival"
    text = describe_project(make(folder, force=True))
    assert "column time and event, to train models (no slide has a label yet)" in text
    assert "--task survival --out mine" in text


def test_what_is_half_filled_in_stays_and_is_told(folder, here):
    make(folder, task="survival")
    text = (here / "mine.csv").read_text().replace("case1,,,case1/HE 3.tif", "case1,5,,case1/HE 3.tif")
    for k in (4, 5):
        text = text.replace(f"case1,,,case1/HE {k}.tif", f"case1,5,{k - 4},case1/HE {k}.tif")
    text = text.replace('generic-tiff, 1500 x 1200 px, 0.5 um/px (TIFF tag)"', 'ask Anna"', 1)
    (here / "mine.csv").write_text(text)
    project = make(folder, labels=Path("mine.csv"), force=True)
    rows = {row["slide_id"]: row for row in read_rows(here / "mine.csv")}
    assert [rows[f"HE_{k}"]["time"] + rows[f"HE_{k}"]["event"] for k in (3, 4, 5)] == ["5", "50", "51"]
    (mistake,) = project.mistakes
    assert "event ''; expected 1" in mistake and f"- {mistake}" in describe_project(project)
    assert [row["note"] for row in rows.values()].count("ask Anna") == 1


def test_a_configuration_that_still_fits_is_kept_and_what_is_replaced_can_be_had_back(folder, here, labels):
    make(folder, labels=labels)
    edited = (here / "mine.yaml").read_text().replace("folds: {count: 3}", "folds: {count: 3, seed: 7}")
    (here / "mine.yaml").write_text(edited)
    rows = (here / "mine.csv").read_text().splitlines()
    sheet = "\n".join(f"{row},{'age' if k == 0 else 40 + k}" for k, row in enumerate(rows)) + "\n"
    sheet = sheet.replace("case0,tumor,case0/HE 0.tif,,", "Anna,tumor,case0/HE 0.tif,,blurred")
    (here / "mine.csv").write_text(sheet)
    project = make(folder, labels=labels, force=True)  # a table of labels alone, not the sheet
    row = next(row for row in read_rows(here / "mine.csv") if row["slide_id"] == "HE_0")
    assert (row["patient_id"], row["exclude"], row["label"], row["age"]) == ("Anna", "blurred", "tumor", "41")
    assert (here / "mine.yaml").read_text() == edited and (here / "mine.csv.bak").read_text() == sheet
    text = describe_project(project)
    assert f"Kept: {here}/mine.yaml, which still fits; for a new one delete it first" in text
    assert f"What they were: {here}/mine.csv.bak" in text
    labels.write_text(labels.read_text().replace("tumor", "metastasis"))
    text = describe_project(make(folder, labels=labels, force=True))
    assert load_config(here / "mine.yaml").datasets["mine"].classes == ["normal", "metastasis"]
    assert (here / "mine.yaml.bak").read_text() == edited and f"mine.csv.bak, {here}/mine.yaml.bak" in text


def test_a_table_of_patients_finds_the_slides_that_the_former_sheet_gives_them(here, slide):
    (here / "slides").mkdir()
    for k in range(4):
        shutil.copy(slide, here / f"slides/{k}.tif")
    (here / "labels.csv").write_text("patient,label,age\nAnna,a,50\nBert,b,60\n")
    with pytest.raises(SheetError, match="none of its rows names a slide"):
        make(here / "slides", labels=Path("labels.csv"))
    make(here / "slides")
    text = (here / "mine.csv").read_text()
    for k in range(4):
        text = text.replace(f"\n{k},,", f"\n{k},{('Anna', 'Bert')[k // 2]},")
    (here / "mine.csv").write_text(text)
    project = make(here / "slides", labels=Path("labels.csv"), force=True)
    assert [row["label"] for row in read_rows(here / "mine.csv")] == ["a", "a", "b", "b"]
    assert "not taken over: age; for covariates add columns to the slide sheet" in describe_project(project)


def test_near_misses_of_columns_get_their_names(folder, here):
    rows = [f"HE_{k},case{k // 3}/HE {k}.tif,P{k},{5 + k},{k % 2},x" for k in range(12)]
    (here / "own.csv").write_text("\n".join(["slide_id,path,Patient ID,Time,Event,stage", *rows]) + "\n")
    project = make(folder, labels=Path("own.csv"), task="survival")
    assert project.mistakes == []
    first = read_rows(here / "mine.csv")[0]
    assert list(first) == ["slide_id", "patient_id", "time", "event", "path", "mpp", "exclude", "note", "stage"]
    assert (first["patient_id"], first["time"], first["event"], first["stage"]) == ("P0", "5", "0", "x")


def test_numbers_of_a_workbook_become_a_regression(folder, here):
    import openpyxl

    book = openpyxl.Workbook()
    for row in (["patient", "sex", "age"], *([f"case{k}", "f", 60.5 + k] for k in range(3)), ["case3", "m", None]):
        book.active.append(row)
    book.save(here / "clinical.xlsx")
    text = describe_project(make(folder, labels=Path("clinical.xlsx"), task="regression"))
    assert "9 slides with a label: labels 60.5 to 62.5" in text  # the broken one is excluded
    config = load_config(here / "mine.yaml")
    assert config.task == "regression" and config.folds.count == 3
    assert {row["label"] for row in read_rows(here / "mine.csv")} == {"60.5", "61.5", "62.5", ""}


def test_without_an_event_there_is_nothing_to_train_and_this_is_the_reason_given(folder, here):
    (here / "labels.csv").write_text("patient,time,event\n" + "".join(f"case{k},5,0\n" for k in range(4)))
    text = describe_project(make(folder, labels=Path("labels.csv"), task="survival"))
    assert "column time and event, to train models (no patient with an event)" in text
    assert "# no patient with an event; then each fold tests a fifth" in (here / "mine.yaml").read_text()


def test_a_slide_that_was_replaced_by_a_good_one_is_no_longer_excluded(here, slide):
    (here / "slides").mkdir()
    (here / "slides/a.tif").write_text("not a slide")
    make(here / "slides")
    shutil.copy(slide, here / "slides/a.tif")
    make(here / "slides", labels=_with_label(here / "mine.csv", "a.tif"), force=True)
    (row,) = read_rows(here / "mine.csv")
    assert row["exclude"] == "" and row["label"] == "x"


def _with_label(sheet, path):
    sheet.write_text(sheet.read_text().replace(f",{path}", f"x,{path}"))
    return sheet


def test_mistakes_in_taken_over_cells_are_told(folder, here, labels):
    labels.write_text('slide,label,mpp,exclude\nHE_0,a,"0,5",no\nHE_1,b,,\n')
    project = make(folder, labels=labels)
    assert (
        len(project.mistakes) == 2 and "write 0.5" in project.mistakes[0] and "is not a reason" in project.mistakes[1]
    )
    assert all(f"- {mistake}" in describe_project(project) for mistake in project.mistakes)


def test_folders_are_labels_where_the_user_says_so(here, slide):
    for k in range(6):
        (here / "slides" / ("low grade", "normal")[k % 2]).mkdir(parents=True, exist_ok=True)
        shutil.copy(slide, here / "slides" / ("low grade", "normal")[k % 2] / f"{k}.tif")
    text = describe_project(make(here / "slides"))
    assert "the folders low grade (3 slides) and normal (3 slides) look like classes: --label-folders takes" in text
    make(here / "slides", label_folders=True, force=True)
    assert [row["label"] for row in read_rows(here / "mine.csv")] == ["low_grade"] * 3 + ["normal"] * 3
    sheet = (here / "mine.csv").read_text()
    assert "0,,low_grade" in sheet
    (here / "mine.csv").write_text(sheet.replace("0,,low_grade", "0,Anna,low_grade"))  # the option counts, not this
    make(here / "slides", patients="folders", force=True)
    assert {row["patient_id"] for row in read_rows(here / "mine.csv")} == {"low grade", "normal"}


def test_existing_files_are_kept_unless_forced(folder, here):
    (here / "mine.yaml").write_text("mine: 1\n")
    with pytest.raises(ConfigError, match=f"already there: {here}/mine.yaml; give another name with --out, or replace"):
        make(folder)
    assert not (here / "mine.csv").exists() and (here / "mine.yaml").read_text() == "mine: 1\n"
    make(folder, force=True)
    assert (here / "mine.csv").exists() and load_config(here / "mine.yaml")


def test_folders_without_slides_are_refused(here):
    (here / "a.txt").write_text("text")
    for name, message in (
        ("none", "no such folder"),
        ("a.txt", "is a file; give the folder"),
        (".", "contains no slides"),
    ):
        with pytest.raises(SheetError, match=message):
            make(here / name)
    assert not list(here.glob("mine*"))


def test_a_sheet_with_other_letters_opens_in_excel(here, slide):
    (here / "slides").mkdir()
    shutil.copy(slide, here / "slides/Müller.tif")
    make(here / "slides", out="größe")
    assert (here / "größe.csv").read_bytes().startswith(b"\xef\xbb\xbfslide_id")
    dataset = load_config(here / "größe.yaml").datasets["grosse"]
    assert read_slide_sheet(dataset.slides, dataset.root)[0].path.name == "Müller.tif"
