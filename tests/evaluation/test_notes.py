from roformermil.evaluation.predictions import read_table
from roformermil.evaluation.tables import write_tables
from tests.factories import SimulatedRun

CLASSES = ["a", "b"]


def lines_of(tmp_path, encoders):
    run = SimulatedRun(tmp_path)
    folds = run.add_dataset("set", CLASSES)
    for seed, encoder in enumerate(encoders):
        given = {"encoder": encoder, "seed": seed, "shuffled_strength": 0.0}
        run.add_model("set", folds, CLASSES, "ro-abmil", strength=4.0, **given)
        run.add_model("set", folds, CLASSES, "abmil", strength=0.0, encoder=encoder, seed=9)
    write_tables(run.predictions, run.datasets, tmp_path / "tables")
    text = (tmp_path / "tables/summary.md").read_text()
    return [line for line in text.splitlines() if line.startswith("- ")]


def test_size_comes_first_then_what_results_say_then_why_to_be_careful(tmp_path):
    size, position, chance, *cautions = lines_of(tmp_path, ["net"])
    assert size == "- set: 3 folds; 24 of 24 slides"
    assert position.startswith("- set, ro-abmil: Shuffling tile positions lowers AUROC by ")
    assert chance == "- set: not measurably better than chance: abmil"
    assert [f"- {line}" for line in read_table(tmp_path / "tables/cautions.csv").caution] == cautions != []


def test_what_is_not_of_all_encoders_of_a_data_set_names_its_own(tmp_path):
    lines = lines_of(tmp_path, ["net", "other-random"])
    assert lines.count("- set: 3 folds; 24 of 24 slides") == 1
    for encoder in ("net", "other-random"):
        (line,) = (line for line in lines if line.startswith(f"- set ({encoder}), ro-abmil: "))
        assert "this model uses position" in line
    assert "- other-random: random encoder weights. These numbers only show that the software runs." in lines
    of_model = read_table(tmp_path / "tables/cautions.csv").dropna(subset="model")
    assert len(of_model) and all(f", {row.model}: " in row.caution for row in of_model.itertuples())
    assert not any(line.startswith("- set, ro-abmil: Shuffling") for line in lines)
