"""Mistakes that people make, and what `check` says: where, what was given, why it cannot be used, what to do."""

import pytest

from roformermil.check import check_file

CONFIG = """datasets:
  set:
    slides: {folder}/sheet.csv
    root: {folder}/slides
    classes: [a, b]
results: {folder}/results
"""
SHEET = "slide_id,patient_id,label,path\ns1,p1,a,s1.svs\ns2,p2,b,s2.svs\n"


@pytest.fixture
def project(tmp_path):
    """A configuration, a slide sheet of two slides, and files in their places."""
    for name in ("s1.svs", "s2.svs", "case/s3.svs"):
        (tmp_path / "slides" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "slides" / name).write_text("not opened in these tests")
    (tmp_path / "mine.yaml").write_text(CONFIG.format(folder=tmp_path))
    (tmp_path / "sheet.csv").write_text(SHEET)
    return tmp_path


def errors(project):
    return [
        str(problem)
        for problem in check_file(project / "mine.yaml", progress=False).problems
        if problem.level == "error"
    ]


IN_CONFIG = {
    "a misspelt key": ("results:", "result:", ["result: unknown key", "did you mean `results`?"]),
    "a magnification": (
        "results:",
        "tiles: {magnification: 20}\nresults:",
        ["tiles.magnification", "target_mpp", "0.5"],
    ),
    "classes that YAML reads as truth values": (
        "[a, b]",
        "[no, yes]",
        ["classes.1", "truth value", "write it in quotes"],
    ),
    "classes that are no list": ("[a, b]", "a, b", ["classes: 'a, b' is not a list; write [a, b]"]),
    "one class": ("[a, b]", "[a]", ["classes", "two or more"]),
    "a tab": ("    classes", "\tclasses", ["line 5", "indent with spaces, not tabs"]),
    "a key twice": ("results:", "results: x\nresults:", ["duplicate key 'results'", "line 7"]),
    "a section without a space": ("results:", "tiles: 256\nresults:", ["tiles: needs keys and values", "got 256"]),
    "an unknown encoder": ("results:", "encoder: {name: resnt50}\nresults:", ["'resnt50'", "did you mean resnet50?"]),
    "an unknown model": ("results:", "models: [abml]\nresults:", ["models.1", "'abml'", "did you mean `abmil`?"]),
    "an unknown tissue method": ("results:", "tissue: {method: otsuu}\nresults:", ["'otsuu'", "did you mean `otsu`?"]),
    "a key without effect": (
        "results:",
        "tissue: {method: otsu, threshold: 4}\nresults:",
        ["threshold has no effect with method: otsu, only with hsv"],
    ),
    "a percentage": (
        "results:",
        "max_failed_fraction: 5\nresults:",
        ["max_failed_fraction", "less than or equal to 1", "5"],
    ),
    "a heat map of no model": (
        "results:",
        "heatmaps: {models: [uni]}\nresults:",
        ["heatmaps.models: uni is none of the models"],
    ),
    "a reserved name": ("  set:", "  logs:", ["logs is the name of another file or folder", "choose another name"]),
    "weights of another encoder": (
        "results:",
        "encoder: {name: uni, weights: imagenet}\nresults:",
        ["uni has no weights: imagenet", "leave the key out"],
    ),
}
IN_SHEET = {
    "an id twice": ("s2,p2", "s1,p2", ["row 3", "duplicate slide_id 's1' (rows 2 and 3)"]),
    "an unknown label": (
        "p2,b",
        "p2,B",
        ["row 3", "slide 's2' has label 'B'; expected one of a, b; did you mean 'b'?"],
    ),
    "no file": (
        "s2.svs",
        "s4.svs",
        ["row 3", "no file at {folder}/slides/s4.svs", "check path and the data set's root"],
    ),
    "backslashes": ("s2.svs", "case\\s3.svs", ["row 3", "write / between folders, not \\"]),
    "a folder": ("s2.svs", "case", ["row 3", "{folder}/slides/case is a folder; give the slide's file in it"]),
    "a path outside the root": (
        "s2.svs",
        "../x.svs",
        ["row 3", "'../x.svs'", "is not inside the root '{folder}/slides'"],
    ),
    "an absolute path": ("s2.svs", "/data/s2.svs", ["row 3", "see the data set's allow_absolute"]),
    "a file twice": (
        "s2.svs",
        "s1.svs",
        ["row 3", "slide 's2' is the same file as slide 's1': {folder}/slides/s1.svs"],
    ),
    "an id that cannot name a file": ("s2,p2", "s 2,p2", ["row 3", "slide_id 's 2' may only have letters"]),
    "a patient that is missing": ("p2,b", ",b", ["row 3", "slide 's2' has no patient_id", "repeat slide_id"]),
    "a misspelt column": ("label", "lable", ["column 'lable': did you mean 'label'? Rename it"]),
    "another name of the patients' column": ("patient_id", "case_id", ["no column 'patient_id'", "'case_id'"]),
    "semicolons": (",", ";", ["separated by semicolons, not commas", "save it as CSV UTF-8"]),
    "a cell with a comma": (
        "p2,b",
        "p2,b,x",
        ["row 3", "5 cells, but the header has 4", "quote cells that contain a comma"],
    ),
    "no header": ("slide_id,patient_id,label,path\n", "", ["the first row must name the columns", "'s1,p1,a,s1.svs'"]),
    "no rows": (SHEET.partition("\n")[2], "", ["the slide sheet has a header, but no rows"]),
}
WITH_MPP = (
    "slide_id,patient_id,label,path,mpp,exclude,tissue\ns1,p1,a,s1.svs,,,\ns2,p2,b,s2.svs,{mpp},{exclude},{tissue}\n"
)
IN_OPTIONAL_COLUMNS = {
    "a decimal comma": ({"mpp": '"0,5"'}, ["row 3", "mpp '0,5' of slide 's2'", "write 0.5"]),
    "a magnification as mpp": ({"mpp": "20x"}, ["row 3", "mpp '20x' of slide 's2' is not a positive number of um/px"]),
    "no reason": ({"exclude": "no"}, ["row 3", "exclude 'no' of slide 's2' is not a reason", "leave the cell empty"]),
    "an unknown setting": ({"tissue": "treshold: 4"}, ["row 3", "tissue of slide 's2'", "did you mean `threshold`?"]),
}
AS_BYTES = {
    "an Excel workbook": (b"PK\x03\x04..xl/workbook.xml", ["an Excel workbook (.xlsx)", "save it as CSV UTF-8"]),
    "Unicode text": (SHEET.encode("utf-16"), ["UTF-16 text", "save it as CSV UTF-8"]),
    "a downloaded page": (
        b"<!doctype html><title>Log in</title>",
        ["an HTML or XML page", "download the CSV file itself"],
    ),
}


def assert_one_error(project, place, fragments):
    """With one mistake more in the configuration, so that no slide is opened, and both are reported."""
    (project / "mine.yaml").write_text((project / "mine.yaml").read_text() + "zzz: 1\n")
    *others, error = errors(project)
    assert [f"{project}/mine.yaml: zzz: unknown key" in other for other in others] == [True]
    assert place in error and all(text.format(folder=project) in error for text in fragments), error


@pytest.mark.parametrize("mistake", IN_CONFIG)
def test_a_mistake_in_the_configuration(project, mistake):
    old, new, fragments = IN_CONFIG[mistake]
    (project / "mine.yaml").write_text((project / "mine.yaml").read_text().replace(old, new))
    error = errors(project)[0]
    assert error.startswith(f"{project}/mine.yaml") and all(text in error for text in fragments), error


@pytest.mark.parametrize("mistake", IN_SHEET)
def test_a_mistake_in_the_slide_sheet(project, mistake):
    old, new, fragments = IN_SHEET[mistake]
    assert old in SHEET
    (project / "sheet.csv").write_text(SHEET.replace(old, new))
    assert_one_error(project, f"set: {project}/sheet.csv", fragments)


@pytest.mark.parametrize("mistake", IN_OPTIONAL_COLUMNS)
def test_a_mistake_in_an_optional_column(project, mistake):
    cells, fragments = IN_OPTIONAL_COLUMNS[mistake]
    (project / "sheet.csv").write_text(WITH_MPP.format(**{"mpp": "", "exclude": "", "tissue": ""} | cells))
    assert_one_error(project, f"set: {project}/sheet.csv", fragments)


@pytest.mark.parametrize("mistake", AS_BYTES)
def test_a_slide_sheet_that_is_another_kind_of_file(project, mistake):
    content, fragments = AS_BYTES[mistake]
    (project / "sheet.csv").write_bytes(content)
    assert_one_error(project, f"set: {project}/sheet.csv", fragments)


def test_a_slide_sheet_or_a_root_that_is_not_there_is_named_with_what_its_path_is_relative_to(project, monkeypatch):
    monkeypatch.chdir(project)
    text = CONFIG.format(folder=project).replace(f"{project}/", "")
    (project / "mine.yaml").write_text(text.replace("sheet.csv", "none.csv") + "zzz: 1\n")
    problems = [str(problem) for problem in check_file(project / "mine.yaml", progress=False).problems]
    place = f"set: slide sheet {project}/none.csv ('none.csv' in {project}, the folder in which this command runs)"
    assert f"{place}; its paths are relative to the root {project}/slides ('slides' in {project}" in problems[1]
    assert problems[2] == f"set: {project}/none.csv: no such slide sheet"
    (project / "mine.yaml").write_text(text.replace("root: slides", "root: scans") + "zzz: 1\n")
    assert errors(project)[1] == f"set: {project}/sheet.csv: the data set's root is not a folder: {project}/scans"


def test_a_configuration_that_is_no_yaml_or_has_no_data_sets_is_one_error(project):
    for text in ("datasets: [", "zzz", "datasets: 3\n", "", "datasets: {set: 3}\n"):
        (project / "mine.yaml").write_text(text)
        (error,) = errors(project)
        assert error.startswith(f"{project}/mine.yaml")
    (project / "mine.yaml").unlink()
    assert errors(project) == [f"{project}/mine.yaml: cannot be read: No such file or directory"]
