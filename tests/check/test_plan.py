import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from roformermil.check import check_plan
from roformermil.cohort.slide_sheet import read_slide_sheet
from roformermil.cohort.slide_table import records_from_sheet, write_slides_csv
from roformermil.errors import Status
from tests.check.run import configure, edit, settings


def plan(folder, **changes):
    return list(check_plan(configure(folder, **changes), lambda name: read_slide_sheet(folder / "sheet.csv", folder)))


def test_the_plan_warns_of_folds_that_cannot_be_made(folder):
    assert plan(folder) == []
    (problem,) = plan(folder, folds={"count": 10})
    assert problem.level == "warning" and problem.message.startswith("training will not be possible: ")
    edit(folder, ("s5,p5", "s5,P3"))
    (problem,) = plan(folder, folds={"count": 3})
    assert problem.level == "warning" and "these look like one patient each: P3 / p3" in problem.message


def test_the_plan_stops_at_files_that_the_configuration_names_but_do_not_exist(folder):
    found = plan(folder, encoder={"weights": str(folder / "{x}.pth")}, folds={"path": "{dataset}/{y}.csv", "count": 3})
    assert [str(problem) for problem in found if problem.level == "error"] == [
        f"encoder.weights: no file at {folder}/{{x}}.pth",
        f"folds.path: no file at {Path.cwd()}/set/{{y}}.csv ('set/{{y}}.csv' in {Path.cwd()}, the folder in which this "
        "command runs)",
    ]


def test_the_plan_reports_the_mistakes_of_all_sheets(folder):
    edit(folder, ("s1,p1", "s0,p1"), ("s3,p3", "s2,p3"))
    datasets = {name: settings(folder)["datasets"]["set"] for name in ("one", "two")}
    found = [
        (problem.dataset, problem.level, problem.message.count("duplicate"))
        for problem in plan(folder, datasets=datasets)
    ]
    assert found == [("one", "error", 2), ("two", "error", 2)]


def test_the_plan_stops_at_slides_lost_in_an_earlier_run(folder):
    records = records_from_sheet(read_slide_sheet(folder / "sheet.csv", folder))
    (folder / "results/set").mkdir(parents=True)
    lost = [replace(record, status=Status.CRASHED) for record in records[:2]]
    write_slides_csv(folder / "results/set/slides.csv", [*lost, *records[2:]])
    (problem,) = plan(folder)
    assert problem.level == "error" and problem.dataset == "set" and "2 lost (2 crashed)" in problem.message


def test_planning_imports_neither_pandas_nor_image_libraries():
    code = "import sys; from roformermil.check import check_plan, Problem; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pandas", "cv2", "openslide", "PIL", "torch", "sklearn"} & set(loaded)


def external(folder, sheet: str, **changes):
    """The plan's problems where a slide sheet of these rows validates the data set of `folder`."""
    (folder / "external.csv").write_text(f"slide_id,patient_id,label,path,site\n{sheet}\n")
    datasets = settings(folder)["datasets"] | {
        "other": {"slides": str(folder / "external.csv"), "root": str(folder), "validates": "set"}
    }
    config = configure(folder, datasets=datasets, **changes)

    def read(name):
        return read_slide_sheet(config.datasets[name].slides, folder, check_files=False)

    return [(problem.level, problem.message) for problem in check_plan(config, read) if problem.dataset == "other"]


def test_what_an_external_data_set_shares_with_the_one_trained_on_is_reported(folder):
    path = next(slide.path for slide in read_slide_sheet(folder / "sheet.csv", folder)).name
    assert external(folder, "e0,q0,a,e0.svs,\ne1,q1,b,e1.svs,") == []  # fewer patients than folds: none divide them
    ((level, message),) = external(folder, "e0,p1,a,e0.svs,\ne1,q1,b,e1.svs,")
    assert level == "error" and message.startswith("1 patient also in set: p1; if these are different patients")
    assert [level for level, _ in external(folder, "e0,p1,a,e0.svs,", leakage={"patients": "warn"})] == ["warning"]
    ((level, message),) = external(folder, f"e0,q0,a,{path},")
    assert level == "error" and "1 slide with the same file as a slide of set: e0" in message
    ((level, message),) = external(folder, "e0,q0,,e0.svs,")
    assert level == "info" and message.startswith("has no labels")
