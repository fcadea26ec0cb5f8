"""The text at the end of a run."""

from dataclasses import replace
from pathlib import Path

import pytest

from roformermil.cohort.slide_sheet import Slide
from roformermil.cohort.slide_table import SlideRecord, write_slides_csv
from roformermil.config import Config
from roformermil.errors import Status
from roformermil.project.closing import closing_text, job_error, table_text
from roformermil.project.run_log import Job, Run

SUMMARY = """AUROC / average precision, mean ± standard deviation over folds

| model | mine (net) |
| --- | --- |
| abmil | 0.48 ± 0.04 / 0.55 ± 0.04 |
| ro-abmil | 1.00 ± 0.00 / 1.00 ± 0.00 |

AUROC, mean over folds, with tile positions shuffled within each slide

| data set | model | AUROC [95% interval] |
| --- | --- | --- |
| mine (net) | abmil | 0.48 [0.39, 0.57] |

- mine: 3 folds; 4 of 4 slides
- mine: 4.0 test patients of class a per fold: with so few patients AUROC is coarse
"""


@pytest.fixture
def config(tmp_path) -> Config:
    dataset = {"slides": "slides.csv", "root": ".", "classes": ["a", "b"]}
    return Config(datasets={"mine": dataset}, results=tmp_path, encoder={"name": "resnet50", "weights": "random"})


def job(number=0, message="Finding tissue: mine, batch 0", log: Path | None = None, **values) -> Job:
    return Job("segment", message, {"dataset": "mine"}, [f"{number}.csv"], [log] if log else [], "", **values)


def close(config, run=None, slides=4, targets=()) -> str:
    """The text at the end of a run of one job, of a data set with slides s0, s1, ..."""
    run = run or Run(jobs={0: job(started=10.0, finished=22.0)}, seconds=75.0)
    sheet = [Slide(f"s{k}", f"p{k}", "ab"[k % 2], Path(f"s{k}.svs"), None) for k in range(slides)]
    return closing_text(config, run, lambda name: sheet, targets)


def write_batch(config, stage: str, records, batch=0) -> None:
    write_slides_csv(config.results / "mine" / stage / f"batch_{batch}.csv", records)


RECORDS = [SlideRecord(f"s{k}", Path(f"s{k}.svs"), tiles=9) for k in range(4)]
LOST = replace(RECORDS[1], status=Status.UNREADABLE, message="s1.svs: cut short; copy it again", stage="segment")
ODD = replace(RECORDS[2], warnings="um/px differs from the objective's")


def test_every_lost_slide_is_named_once_with_its_remedy_and_warnings_after_it(config):
    write_batch(config, "tissue", [RECORDS[0], LOST])
    write_batch(config, "tissue", [ODD, RECORDS[3]], batch=1)
    text = close(config)
    assert "mine: 3 of 4 slides, 1 lost (1 unreadable)" in text
    assert text.count("s1: unreadable:") == 1 and text.count("cut short; copy it again") == 1
    assert text.index("lost:") < text.index("warnings:\n    s2: um/px differs")


def test_the_last_stage_that_worked_on_a_slide_counts_and_slides_that_left_the_sheet_do_not(config):
    write_batch(config, "tissue", RECORDS)
    write_batch(config, "tiles", [RECORDS[0], replace(RECORDS[3], status=Status.EMPTY, message="no tile with tissue")])
    assert "mine: 3 of 4 slides, 1 lost (1 empty)" in close(config)
    assert "mine: 3 of 3 slides\n" in close(config, slides=3)
    assert "mine: 3 of 4 slides, 1 lost (1 empty), 2 not processed yet" in close(config, slides=6)


def test_slides_without_a_label_are_counted_where_others_have_one(config):
    write_batch(config, "tissue", RECORDS)
    sheet = [Slide(f"s{k}", f"p{k}", "a" * (k > 0), Path(f"s{k}.svs"), None) for k in range(4)]
    run = Run(jobs={0: job()})
    assert "4 of 4 slides; 1 without a label, not trained on" in closing_text(config, run, lambda name: sheet)
    assert "not trained on" not in closing_text(config, run, lambda name: [replace(slide, label="") for slide in sheet])


def test_a_damaged_table_is_passed_over(config):
    write_batch(config, "tissue", RECORDS)
    (config.results / "mine/tissue/batch_1.csv").write_text("slide_id\ns0\n")
    assert "mine: 4 of 4 slides" in close(config)
    (config.results / "mine/tissue/batch_0.csv").unlink()
    assert "mine: none of its 4 slides was processed" in close(config)


def test_a_run_of_everything_ends_with_the_table_its_cautions_and_what_to_look_at(config):
    write_batch(config, "tissue", RECORDS)
    (config.results / "summary.md").write_text(SUMMARY)
    (config.results / "report.html").touch()
    (packaged := config.results / "mine/resnet50-random/ro-abmil/model").mkdir(parents=True)
    text = close(config)
    assert "\nmodel     mine (net)\nabmil     0.48 ± 0.04 / 0.55 ± 0.04\nro-abmil  1.00" in text
    assert "- mine: 4.0 test patients of class a per fold" in text and "0.39" not in text, "the first table only"
    assert text.count("4 of 4 slides") == 1
    assert "Finished after 75 s; longest steps: finding tissue 12 s" in text
    places = (config.results / "report.html", f"roformermil view {config.results}", f"--model {packaged}")
    assert all(f"{place} " in text for place in places)
    for targets in (["tissue"], ["features"]):
        assert "AUROC" not in close(config, targets=targets)


def test_tissue_and_features_end_with_what_they_made(config):
    write_batch(config, "tissue", RECORDS)
    page = config.results / "mine/tissue.html"
    page.touch()
    assert f"{page}  the tissue found" in close(config, targets=["tissue"])
    assert f"{config.results / 'mine/features/resnet50-random'}  the features" in close(config, targets=["features"])


def test_nothing_to_do_says_so_and_where_the_results_are(config):
    write_batch(config, "tissue", RECORDS)
    (config.results / "summary.md").write_text(SUMMARY)
    text = close(config, Run(nothing_to_do=True))
    assert "Nothing to do: all results are up to date" in text and "ro-abmil  1.00" in text and "summary.md" in text


def test_a_failed_run_names_the_jobs_that_failed_why_and_their_logs_and_shows_no_table(config, tmp_path):
    write_batch(config, "tissue", RECORDS)
    (config.results / "summary.md").write_text(SUMMARY)
    log = tmp_path / "fold_0.log"
    log.write_text("2026-01-01 10:00:00,000 INFO epoch 1\n2026-01-01 10:00:01,000 ERROR the disk is full\n")
    failed = {k: job(k, f"Training: mine, abmil, fold {k}", log) for k in range(3)}
    text = close(config, Run(jobs=failed, failed=failed, seconds=8.0))
    assert "Failed: Training: mine, abmil, fold 0 and 2 more: Training: mine, abmil, fold 1, Training" in text
    assert text.count("the disk is full") == 1 and str(log) in text and "epoch 1" not in text
    assert "Not finished: stopped after 8.0 s" in text and "same command again" in text
    assert "0.48" not in text, "the table may be of an earlier run"


@pytest.mark.parametrize(
    ("log", "ended_by", "expected"),
    [
        ("x ERROR a\n2026-01-01 10:00:01,000 ERROR too many:\n  s1: cut short\nRepair", "", "too many:\nRepair"),
        ("", "returned non-zero exit status 127", "the command `roformermil` was not found"),
        ("", "died with <Signals.SIGKILL: 9>", "it was killed, most likely because memory ran out"),
        ("", "returned non-zero exit status 3", "it returned non-zero exit status 3 without a message"),
    ],
)
def test_why_a_job_failed_is_its_last_error_or_how_it_ended(tmp_path, log, ended_by, expected):
    (tmp_path / "job.log").write_text(log)
    failed = job(log=tmp_path / "job.log", ended_by=ended_by)
    assert job_error(failed, tmp_path / "printed.log") == expected
    (tmp_path / "printed.log").write_text("Usage: roformermil")
    seen = f"; see {tmp_path / 'printed.log'}" if "without a message" in expected else ""
    assert job_error(failed, tmp_path / "printed.log") == expected + seen


def test_an_interrupted_run_ends_with_one_line_and_one_that_ended_before_its_first_job_with_none(config):
    write_batch(config, "tissue", RECORDS)
    text = close(config, Run(jobs={0: job()}, interrupted=True, seconds=41.0))
    assert text == "Stopped by Ctrl-C after 41 s. Finished work is kept: the same command resumes it."
    assert not close(config, Run(error=True))


def test_the_terminal_shows_external_validation_too(tmp_path):
    table = "| model | drop |\n| --- | --- |\n| abmil | {} |"
    blocks = [
        "AUROC",
        table.format("first"),
        "Means",
        table.format("second"),
        "External validation: AUROC",
        table.format("0.03"),
    ]
    (tmp_path / "summary.md").write_text("\n\n".join([*blocks, "- a note"]) + "\n")
    text = table_text(tmp_path / "summary.md")
    assert "first" in text and "second" not in text
    assert text.index("External validation: AUROC") < text.index("0.03") < text.index("a note")
