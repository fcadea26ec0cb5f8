import shutil

import numpy as np

from roformermil.check.dataset import check_dataset
from roformermil.cohort.synthetic import write_pyramid
from tests.check.run import configure, edit, problems, settings


def test_as_many_lost_slides_as_allowed_are_no_error_and_one_more_is(folder):
    assert problems(folder) == []
    assert problems(folder, "info") == ["set: 6 of 7 slides, 1 lost (1 unreadable); 6 patients in use (a: 3, b: 3)"]
    (one_more,) = problems(folder, max_failed_fraction=0.1)
    assert one_more.startswith("set: 14% of its slides are lost, max_failed_fraction allows 10%. Repair these slides, ")


def test_every_slide_that_cannot_be_used_is_named_with_the_reason(folder):
    edit(folder, ("label,path", "label,path,mpp,exclude"), ("s6.tif", "s6.tif,,"), ("s0.tif", "s0.tif,1.0,"))
    edit(folder, ("s1.tif", "s1.tif,,duplicate"), *((f"s{k}.tif", f"s{k}.tif,,") for k in range(2, 6)))
    coarse, unreadable = problems(folder, "warning", max_failed_fraction=0.5)
    assert coarse.startswith("set: s0: too_coarse: ") and "1 um/px, as given (slide sheet: column mpp" in coarse
    assert coarse.endswith("Correct its column mpp, or leave it empty to use the file's own")
    assert unreadable.startswith(f"set: s6: unreadable: {folder}/s6.tif")
    (info,) = problems(folder, "info", max_failed_fraction=0.5)
    usable = "set: 4 of 7 slides, 1 excluded by the slide sheet, 2 lost (1 too_coarse, 1 unreadable)"
    assert info == f"{usable}; 4 patients in use (a: 2, b: 2)"


def test_one_oddity_of_several_slides_is_one_warning(folder):
    """Scans that are cropped to tissue, of dark grains of 8 um."""
    for k in (2, 3):
        grains = np.random.default_rng(k).normal((165, 85, 135), 12, (64, 64, 3)).clip(0, 255).astype(np.uint8)
        write_pyramid(folder / f"s{k}.tif", grains.repeat(16, axis=0).repeat(16, axis=1))
    merged = [line for line in problems(folder, "warning", max_failed_fraction=0.5) if "tissue" in line]
    assert len(merged) == 1 and merged[0].startswith("set: s2: 100% of the scan is tissue: ")
    assert merged[0].endswith("Likewise s3")


def test_a_leak_is_an_error_unless_it_is_to_be_a_warning(folder):
    shutil.copy(folder / "s0.tif", folder / "s3.tif")
    (message,) = problems(folder)
    assert message.startswith("set: ") and "with two labels: s0 (a) = s3 (b)" in message
    assert problems(folder, leakage={"duplicates": "warn"}) == []
    assert "s0 (a) = s3 (b)" in problems(folder, "warning", leakage={"duplicates": "warn"})[-1]


def test_mistakes_of_all_kinds_are_reported_together(folder):
    edit(folder, ("s4,p4,a", "s4,p4,A"), ("s5.tif", "s7.tif"))
    settings = {"encoder": {"weights": "none.pth"}, "max_failed_fraction": 0.2}
    messages = problems(folder, **settings)
    assert len(messages) == 3 and "encoder.weights: no file at /" in messages[0]
    assert (
        f"{folder}/sheet.csv, row 6: slide 's4' has label 'A'; expected one of a, b; did you mean 'a'?" in messages[1]
    )
    assert f"row 7: slide 's5': no file at {folder}/s7.tif" in messages[2]
    info, folds = problems(folder, "info", **settings)
    assert info.startswith("set: without the rows above: 4 of 5 slides, 1 lost (1 unreadable)")
    assert "cannot be judged before the rows above are corrected" in folds


def test_a_sheet_that_cannot_be_read_and_a_wrong_root_are_one_error_a_mistake(folder):
    (sheet := folder / "sheet.csv").write_text(sheet.read_text().replace("patient_id", "patient"))
    (message,) = problems(folder)
    assert message.startswith(f"set: {sheet}: no column 'patient_id': is it your column 'patient'?")
    edit(folder, ("patient", "patient_id"))
    datasets = {"set": settings(folder)["datasets"]["set"] | {"root": "/nowhere"}}
    assert problems(folder, datasets=datasets) == [f"set: {sheet}: the data set's root is not a folder: /nowhere"]


def test_long_lists_are_cut_but_every_mistake_counts(folder):
    rows = [f"x{k},q{k},c,s0.tif" for k in range(8)]  # an unknown class; all but the first also another's file
    (folder / "sheet.csv").write_text("\n".join(["slide_id,patient_id,label,path", *rows]) + "\n")
    found = check_dataset(configure(folder), "set", progress=False).problems
    errors = [problem for problem in found if problem.level == "error"]
    assert len(errors) == 11 and sum(problem.count for problem in errors) == 8 + 7
    assert str(errors[-1]) == "set: and 5 more like these"


def test_each_kind_of_mistake_is_shown_however_many_there_are_of_another(folder):
    rows = [*(f"x{k},q{k},c,x{k}.tif" for k in range(20)), "y,,a,s1.tif"]
    (folder / "sheet.csv").write_text("\n".join(["slide_id,patient_id,label,path", *rows]) + "\n")
    messages = problems(folder)
    assert len(messages) == 11 and messages[-1] == "set: and 31 more like these"
    for kind, count in {"label 'c'": 5, "no file at": 4, "'y' has no patient_id": 1}.items():
        assert sum(kind in message for message in messages) == count


def test_few_test_patients_are_a_warning_before_anything_is_computed(folder):
    few = "set: 1 test patients of class a per fold: with so few patients AUROC is coarse"
    assert problems(folder, "warning")[-1].startswith(few)


def test_tissue_settings_of_a_slide_that_do_not_fit_are_named(folder):
    edit(folder, ("label,path", "label,path,tissue"), *((f"s{k}.tif", f"s{k}.tif,") for k in range(6)))
    edit(folder, ("s6.tif", "s6.tif,threshold: 4"))
    (message,) = problems(folder, tissue={"method": "otsu"}, folds={"count": 3})
    assert message.startswith("set: slide s6, column tissue of the slide sheet: ") and "threshold" in message


def test_slides_that_are_still_to_be_downloaded_are_a_warning_and_the_others_are_checked(folder):
    (folder / "s2.tif").unlink()
    datasets = {"set": settings(folder)["datasets"]["set"] | {"source": {"kind": "gdc"}}}
    assert problems(folder, datasets=datasets, max_failed_fraction=0.5) == []
    absent, unreadable, *_ = problems(folder, "warning", datasets=datasets, max_failed_fraction=0.5)
    assert absent == "set: 1 of 7 slides are not downloaded yet: run `snakemake download`, then check again"
    assert unreadable.startswith("set: s6: unreadable")
    (few,) = problems(folder, datasets=datasets, max_failed_fraction=0.5, folds={"count": 4})
    assert "class b has 3 patients" in few


def test_imported_features_are_read_instead_of_slides(folder):
    edit(folder, ("s0.tif", "s0.h5"), *((f"s{k},p{k},{'ab'[k % 2]},s{k}.tif\n", "") for k in range(1, 6)))
    (folder / "s0.h5").write_text("not HDF5")
    lost = problems(folder, "warning", encoder={"name": "imported"}, max_failed_fraction=1)
    assert [line.split(": ")[:3] for line in lost] == [["set", "s0", "unreadable"], ["set", "s6", "unreadable"]]
