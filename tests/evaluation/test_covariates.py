"""What covariates add, on the same patients."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from roformermil.config import Model
from roformermil.config.base import to_json
from roformermil.evaluation.comparisons import jackknife_t
from roformermil.evaluation.covariates import FILE, gain_sentences, gains_table
from roformermil.evaluation.fold_results import FoldResult
from roformermil.evaluation.predictions import out_of_fold, read_table
from roformermil.evaluation.tables import write_tables
from roformermil.report.pages import write_report
from tests.factories import SimulatedRun, write_training_files

MODELS = {  # settings and how well it predicts
    "abmil": (Model(name="abmil"), 0.4),
    "narrow": (Model(name="abmil", id="narrow", hidden_dim=64), 0.4),
    "fused": (Model(name="abmil", id="fused", covariates=True), 1.5),
    "covariates": (Model(name="covariates"), 1.0),
}


@pytest.fixture
def run(tmp_path):
    made = SimulatedRun(tmp_path)
    folds = made.add_dataset("set", ["a", "b"], slides=60)
    for seed, (name, (settings, strength)) in enumerate(MODELS.items()):
        for path in made.add_model("set", folds, ["a", "b"], model=name, strength=strength, seed=seed):
            path.with_name("model.safetensors").unlink()
            write_training_files(path, model=to_json(settings))
    return made


def test_each_model_with_covariates_is_compared_with_itself_without_and_with_them_alone(run):
    results = [FoldResult.at(path) for path in run.predictions]
    models = out_of_fold(results)
    gains = gains_table(models, results)
    assert gains[["model", "against", "which_is"]].values.tolist() == [
        ["fused", "abmil", "without covariates"],
        ["fused", "covariates", "covariates alone"],
    ]
    by_name = {model.model: model for model in models}
    areas = {
        name: np.mean([roc_auc_score(one.targets[f], one.predictions[f, 1]) for f in one.tests])
        for name, one in by_name.items()
    }
    for row in gains.itertuples():
        assert row.difference == pytest.approx(areas["fused"] - areas[row.against])
        paired = jackknife_t(by_name["fused"], by_name[row.against], "auroc")
        assert (row.ci_low, row.ci_high) == pytest.approx((paired.ci_low, paired.ci_high))
        assert row.ci_low < row.difference < row.ci_high
    (sentence,) = gain_sentences(gains)["set", "net"]
    first = gains.iloc[0]
    start = (
        f"set, fused: gain in AUROC {first.difference:+.2f} [{first.ci_low:+.2f}, {first.ci_high:+.2f}] against abmil"
    )
    assert sentence.startswith(start) and "against covariates (covariates alone)" in sentence


def test_summary_and_report_show_the_gain_and_nothing_where_no_model_has_covariates(run, tmp_path):
    write_tables(run.predictions, run.datasets, tmp_path)
    write_report(tmp_path, run.datasets)
    assert len(read_table(tmp_path / FILE)) == 2
    for name in ("summary.md", "report.html"):
        assert "set, fused: gain in AUROC +" in (tmp_path / name).read_text(encoding="utf-8")
    without = [path for path in run.predictions if "fused" not in path.parts]
    write_tables(without, run.datasets, tmp_path)
    write_report(tmp_path, run.datasets)
    assert not (tmp_path / FILE).exists()
    for name in ("summary.md", "report.html"):
        assert "covariates alone" not in (tmp_path / name).read_text(encoding="utf-8")
