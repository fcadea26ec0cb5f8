"""The paper's results, compared with its table typed a second time."""

from itertools import chain, product

from roformermil.config import load_config
from roformermil.evaluation.paper import CLASSES, MODELS, paper_result
from tests import ROOT

PRINTED = {  # AUROC and average precision of each cohort, mean and standard deviation
    "abmil": ".88 .06 .84 .07 .81 .09 .70 .12 .80 .24 .74 .20",
    "ro-abmil": ".92 .05 .92 .05 .82 .07 .70 .10 .90 .05 .82 .08",
    "dsmil": ".88 .06 .88 .06 .79 .09 .68 .11 .74 .23 .68 .17",
    "ro-dsmil": ".90 .05 .90 .05 .82 .08 .70 .11 .90 .05 .82 .07",
    "transmil": ".91 .05 .91 .04 .80 .09 .68 .11 .84 .09 .77 .10",
}


def test_results_are_those_that_the_paper_prints():
    assert set(PRINTED) == set(MODELS)
    for model, line in PRINTED.items():
        cells = product(("tcga_nsclc", "bracs", "camelyon16"), ("auroc", "average_precision"))
        results = [paper_result(name, CLASSES[name], model, metric) for name, metric in cells]
        assert list(chain(*results)) == [float(word) for word in line.split()]


def test_other_data_sets_models_and_classes_have_no_result():
    assert paper_result("mine", ["a", "b"], "abmil", "auroc") is None
    assert paper_result("bracs", CLASSES["bracs"], "mean", "auroc") is None
    assert paper_result("bracs", ["N", "PB", "UDH", "FEA", "ADH", "DCIS", "IC"], "abmil", "auroc") is None


def test_classes_are_those_of_the_papers_configuration():
    datasets = load_config(ROOT / "config/paper.yaml").datasets
    assert datasets.keys() == CLASSES.keys()
    assert all(set(datasets[name].classes) == set(classes) for name, classes in CLASSES.items())
