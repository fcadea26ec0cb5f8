import pandas as pd

from roformermil.report.heatmaps.gallery import copy_gallery


def test_the_surest_of_each_class_right_and_wrong(tmp_path):
    rows = [  # slide, label, probability of b
        ("a_sure", "a", 0.01), ("a_unsure", "a", 0.4), ("a_wrong", "a", 0.7), ("a_worse", "a", 0.9), ("a_undrawn", "a", 0.001),
        ("b_sure", "b", 0.99), ("b_unsure", "b", 0.6), ("b_training", "b", 1.0),
    ]  # fmt: skip
    path = tmp_path / "set/net/m/fold_0/predictions.csv"
    path.parent.mkdir(parents=True)
    table = pd.DataFrame(rows, columns=["slide_id", "label", "probability_b"])
    table = table.assign(patient_id=table.slide_id, part="test", probability_a=1 - table.probability_b)
    table.loc[table.slide_id == "b_training", "part"] = "train"
    table[["slide_id", "patient_id", "label", "part", "probability_a", "probability_b"]].to_csv(path, index=False)
    for slide_id in table.slide_id.drop(index=4):
        (tmp_path / f"{slide_id}.jpg").write_text(slide_id)
    copy_gallery([path], tmp_path, tmp_path / "gallery", per_class=1)
    found = {str(p.relative_to(tmp_path / "gallery")) for p in (tmp_path / "gallery").rglob("*.jpg")}
    assert found == {"a/right/a_sure.jpg", "a/wrong/a_worse.jpg", "b/right/b_sure.jpg"}
