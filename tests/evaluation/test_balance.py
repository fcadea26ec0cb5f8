from roformermil.config import Training
from roformermil.config.base import to_json
from roformermil.evaluation.balance import balance_cautions, balance_sentences
from roformermil.evaluation.consistency import read_results
from roformermil.evaluation.tables import write_tables
from tests.factories import SimulatedRun, write_training_files

CLASSES = ["a", "b"]
SLIDES = {"a": 60, "b": 20}


def test_what_training_made_of_the_frequencies_is_said():
    drawn, effect = balance_sentences(Training(sampler="balanced"), CLASSES, SLIDES)
    assert drawn == (
        "Slides were drawn so that all classes are equally frequent in training: "
        "a 75%, b 25% of the slides count as a 50%, b 50%."
    )
    assert "not to how frequent the classes are" in effect
    weighted, _ = balance_sentences(Training(class_weights="balanced"), CLASSES, SLIDES)
    assert (
        weighted == "The loss of a slide was weighted by its class: a 75%, b 25% of the slides count as a 50%, b 50%."
    )
    assert balance_sentences(Training(), CLASSES, SLIDES) == []


def test_the_tables_warn_that_probabilities_are_of_other_frequencies(tmp_path):
    run = SimulatedRun(tmp_path)
    run.add_model("set", run.add_dataset("set", CLASSES), CLASSES)
    assert balance_cautions(read_results(run.predictions)) == {}
    for path in run.predictions:
        write_training_files(path, training=to_json(Training(class_weights="balanced")))
    write_tables(run.predictions, run.datasets, tmp_path / "tables")
    line = "set: training weighted the classes (training.class_weights, training.sampler): probabilities, accuracy and"
    assert line in (tmp_path / "tables/cautions.csv").read_text()
    assert line in (tmp_path / "tables/summary.md").read_text()
