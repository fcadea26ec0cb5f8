import shutil

import numpy as np
import pytest

from roformermil.cohort.synthetic import write_pyramid
from tests.tissue_drawing import draw_tissue


@pytest.fixture(scope="session")
def pyramids(tmp_path_factory):
    """Six small slides, s0.tif to s5.tif, of tissue with glass around it."""
    folder = tmp_path_factory.mktemp("pyramids")
    for k in range(6):
        tissue = draw_tissue(np.random.default_rng(k), 700, 600)
        image = np.pad(tissue, ((200, 200), (200, 200), (0, 0)), constant_values=243)
        write_pyramid(folder / f"s{k}.tif", image)
    return folder


@pytest.fixture
def folder(tmp_path, pyramids):
    """A slide sheet, s0 to s5, six small slides of two classes, and s6, which is no slide."""
    shutil.copytree(pyramids, tmp_path, dirs_exist_ok=True)
    (tmp_path / "s6.tif").write_text("no slide")
    rows = [f"s{k},p{k},{'ab'[k % 2]},s{k}.tif" for k in range(6)]
    (tmp_path / "sheet.csv").write_text("\n".join(["slide_id,patient_id,label,path", *rows, "s6,p6,a,s6.tif"]) + "\n")
    return tmp_path
