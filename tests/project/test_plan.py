"""The plan of a dry run."""

import pytest

from roformermil.project.plan import number_ranges, plan_text
from roformermil.project.run_log import Job, Run


def plan(*jobs: tuple[str, dict, str], reasons=None) -> list[str]:
    """The lines of a plan of jobs: message, wildcards and Snakemake's reason of each; job k writes `k.csv`."""
    made = {
        k: Job("rule", message, wildcards, [f"{k}.csv"], [], reason)
        for k, (message, wildcards, reason) in enumerate(jobs)
    }
    return plan_text(Run(dry=True, jobs=made, reasons=reasons or {})).splitlines()


def batch(name: str) -> dict:
    return {"dataset": "mine", "batch": name}


def test_a_step_of_a_data_set_is_one_row_that_names_its_batches_models_and_folds():
    trainings = [
        (
            f"Training: mine, {model}, fold {fold}",
            {"dataset": "mine", "model": model, "fold": str(fold)},
            "Missing output files: x",
        )
        for model in ("abmil", "ro-abmil")
        for fold in range(3)
    ]
    names = ("00", "010", "011", "10", "110", "111")
    segments = [(f"Finding tissue: mine, batch {name}", batch(name), "Missing output files: x") for name in names]
    lines = plan(*segments, *trainings, ("", {}, "Input files updated by another job: x"))
    assert lines[0] == "To do: 12 jobs"
    assert [line.split() for line in lines[3:]] == [
        [
            "mine",
            "Finding",
            "tissue",
            "6",
            "batches",
            "00,",
            "010,",
            "011,",
            "10",
            "and",
            "2",
            "more",
            "not",
            "done",
            "yet",
        ],
        ["mine", "Training", "6", "abmil,", "ro-abmil;", "folds", "0-2", "not", "done", "yet"],
    ]


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("Missing output files: a; Input files updated by another job: b", "not done yet"),
        ("Input files updated by another job: b", "follows from the steps above"),
        ("Input files updated by another job: b; Params have changed since last execution: x", "its settings changed"),
        ("Updated input files: mine.csv", "a file that it reads changed"),
        ("a reason of a later Snakemake", "a reason of a later Snakemake"),
    ],
)
def test_reasons_are_in_words_the_most_telling_first(reason, expected):
    assert plan(("Counting slides: mine", {"dataset": "mine"}, reason))[-1].endswith(f"  {expected}")


def test_our_own_reasons_to_run_a_job_again_replace_snakemakes_forced():
    reasons = {"0.csv": ["0.csv: made with other settings"], "1.csv": ["s7: its file changed"]}
    jobs = [(f"Finding tissue: mine, batch {k}", batch(k), "Forced execution") for k in "01"]
    assert plan(*jobs, reasons=reasons)[-1].endswith("batches 0, 1  made with other settings, s7: its file changed")


def test_without_jobs_there_is_no_plan():
    assert not plan() and not plan(("", {}, "Missing output files: x"))


def test_numbers_in_a_row_are_joined_and_other_names_follow():
    assert number_ranges(["3", "0", "1", "0_seed_2"]) == "0-1, 3, 0_seed_2"
