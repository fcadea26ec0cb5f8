"""Which slides a call of `predict` names."""

import pytest

from roformermil.deployment.slide_inputs import read_inputs
from roformermil.errors import ConfigError, SheetError


@pytest.fixture
def folder(tmp_path):
    for name in ("a/HE.svs", "b/HE.svs", "b/other.svs", "b/notes.txt", "stores/s1.zarr/features/zarr.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


def inputs(*paths, out="out"):
    return {record.slide_id: (record.path, str(record.status)) for record in read_inputs(paths, paths[0].parent / out)}


def test_a_folder_is_walked_and_what_is_no_slide_is_named(folder, caplog):
    caplog.set_level("INFO")
    assert list(inputs(folder / "b")) == ["HE", "other"]
    assert f"{folder}/b: 2 slides" in caplog.text
    assert f"{folder}/b: 1 file left out (.txt is not an ending of slide files): notes.txt" in caplog.text


def test_slides_of_one_name_in_a_folder_are_told_apart_by_their_folders(folder):
    found = inputs(folder)
    assert list(found) == ["a_HE", "b_HE", "other"] and found["b_HE"][0] == folder / "b/HE.svs"


def test_feature_stores_of_a_folder_are_taken_where_it_has_no_slides(folder):
    assert list(inputs(folder / "stores")) == ["s1"] and "s1" not in inputs(folder)


def test_what_predict_wrote_before_is_not_predicted(folder):
    (folder / "a/out/features/HE.zarr/features").mkdir(parents=True)
    (folder / "a/out/heatmaps").mkdir()
    (folder / "a/out/heatmaps/x.tif").write_text("")
    (record,) = read_inputs([folder / "a"], folder / "a/out")
    assert record.slide_id == "HE"


def test_the_folder_of_an_mrxs_file_is_part_of_it(tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m/Slidedat.ini").write_text("")
    (tmp_path / "m.mrxs").write_text("")
    assert list(inputs(*sorted(tmp_path.iterdir()))) == ["m"]


def test_files_folders_and_slide_sheets_can_be_mixed(folder):
    sheet = folder / "sheet.csv"
    sheet.write_text(
        "slide_id,path,mpp,tissue,exclude\nx,a/HE.svs,0.5,{method: otsu},\ny,none.svs,,,\nz,b/other.svs,,,blurred\n"
    )
    x, y, z, b = read_inputs([sheet, folder / "b/HE.svs"], folder / "out")
    assert (x.slide_id, x.path, x.sheet_mpp, x.sheet_tissue) == ("x", folder / "a/HE.svs", 0.5, "{method: otsu}")
    assert y.status == "missing"
    relative = (
        f"paths of the slide sheet are relative to {folder}: put it into the slides' folder, or write whole paths"
    )
    assert y.message == f"{folder}/none.svs: no such file; {relative}"
    assert (z.status, z.message, b.slide_id) == ("excluded", "blurred", "HE")
    sheet.write_text("slide_id,path,mpp\nx,a/HE.svs,0\nx,../b.svs,\n")
    with pytest.raises(SheetError) as error:
        read_inputs([sheet], folder / "out")
    assert "row 2: mpp '0'" in str(error.value) and "duplicate slide_id 'x'" in str(error.value)
    assert "give its absolute path" in str(error.value)


def test_a_slide_named_twice_is_predicted_once_and_two_of_one_name_are_refused(folder):
    assert len(read_inputs([folder / "b", folder / "b/HE.svs"], folder / "out")) == 2
    message = rf"several slides are called HE \({folder}/a/HE.svs, {folder}/b/HE.svs\): .*--out.*slide sheet"
    with pytest.raises(ConfigError, match=message):
        read_inputs([folder / "a", folder / "b"], folder / "out")


def test_a_folder_without_slides_is_an_error_with_its_absolute_path(folder, monkeypatch):
    (folder / "empty").mkdir()
    with pytest.raises(ConfigError, match=f"no slide to predict in {folder}/empty"):
        read_inputs([folder / "empty"], folder / "out")
