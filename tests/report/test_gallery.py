import pandas as pd

from roformermil.report.heatmaps.gallery import copy_gallery
from tests.factories import write_predictions_csv, write_training_files

RIGHT = {"a_sure": 0.01, "a_unsure": 0.4, "a_undrawn": 0.001, "b_sure": 0.99, "b_unsure": 0.6}  # probabilities of b
WRONG = {"a_wrong": 0.7, "a_worse": 0.9}


def test_the_most_confident_right_and_wrong_predictions_of_each_class_are_copied(tmp_path):
    """As the first seed's model predicted them, which draws the panels; the second seed's predicts the opposite."""
    p = pd.Series({**RIGHT, **WRONG, "b_training": 1.0})
    table = pd.DataFrame({"slide_id": p.index, "patient_id": p.index, "label": p.index.str[0], "part": "test"})
    table.loc[table.slide_id == "b_training", "part"] = "train"
    path, second = (tmp_path / f"set/net/m/{name}/predictions.csv" for name in ("fold_0", "fold_0_seed_2"))
    for one, values in ((path, p.to_numpy()), (second, 1 - p.to_numpy())):
        write_predictions_csv(one, table.assign(probability_a=1 - values, probability_b=values))
        write_training_files(one)
    for slide_id in table.slide_id[table.slide_id != "a_undrawn"]:
        (tmp_path / f"{slide_id}.jpg").write_text(slide_id)
    chosen = copy_gallery([second, path], tmp_path, tmp_path / "gallery", per_class=1)
    copied = {str(path.relative_to(tmp_path / "gallery")) for path in tmp_path.glob("gallery/**/*.jpg")}
    assert copied == {"a/right/a_sure.jpg", "a/wrong/a_worse.jpg", "b/right/b_sure.jpg"}
    assert set(chosen) == {"a_sure", "a_worse", "b_sure"}
