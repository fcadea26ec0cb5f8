"""The text at the end of a run: slides used and lost, warnings, the table, what failed, and where to look next."""

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from roformermil.cohort.slide_messages import group_lost, group_warnings
from roformermil.cohort.slide_sheet import Slide
from roformermil.cohort.slide_table import SHOWN_SLIDES, SlideRecord, attrition_summary, read_slide_table
from roformermil.config import Config
from roformermil.errors import RoFormerMILError
from roformermil.project.plan import plan_text
from roformermil.project.run_log import Job, Run
from roformermil.runtime.text import aligned_table, duration, first_lines, join_some, plural

SHOWN_NOTES, SHOWN_STEPS = 12, 5
# targets whose results include the table; without a target it is `all`
WITH_TABLE = {"all", "evaluation", "report_files", "deployment"}
STUDIES = ("ablation", "overhead", "search")
ERROR_LINE = re.compile(r"^\d{4}-\d\d-\d\d [\d:,]+ ERROR ", re.MULTILINE)  # of a job's log
SLIDES_NOTE = re.compile(
    r"- [^:]+: ((\d+ repeats of )?\d+ folds[^;]*|external, [^;]+); \d+ of \d+ slides"
)  # which the closing text begins with
EXTERNAL_TITLE = "External validation:"  # of its table in summary.md
EXIT_STATUS = {
    "exit status 127": "the command `roformermil` was not found",
    "exit status 137": "it was killed, most likely because memory ran out",
    "SIGKILL": "it was killed, most likely because memory ran out",
    "SIGTERM": "it was ended from outside, by SIGTERM",
}
ReadSheet = Callable[[str], list[Slide]]


def closing_text(
    config: Config, run: Run, read_sheet: ReadSheet, targets: Collection[str] = (), printed: Path | None = None
) -> str:
    """What a person needs to know when a run has ended; "" where it ended before its first job.

    read_sheet: returns the slides of a data set's slide sheet, or raises SheetError. targets: rules and files asked for.
    printed: what jobs printed, if anything.
    """
    if run.interrupted:
        return f"Stopped by Ctrl-C after {duration(run.seconds)}. Finished work is kept: the same command resumes it."
    if run.dry:
        return plan_text(run)
    if not run.jobs and not run.nothing_to_do:
        return ""
    parts = [slides_text(config, name, read_sheet) for name in config.datasets]
    if run.succeeded and WITH_TABLE & set(targets or ["all"]):
        parts.append(table_text(config.results / "summary.md"))
    parts += [failures_text(list(run.failed.values()), printed), time_text(run), next_text(config, run, targets)]
    return "\n\n".join(part for part in parts if part)


def slides_text(config: Config, name: str, read_sheet: ReadSheet) -> str:
    """How many slides of a data set are used, each lost one with its message and remedy, and warnings of the others."""
    try:
        slides = read_sheet(name)
    except RoFormerMILError:  # reported before the first job
        return ""
    found = records_so_far(config, name)
    records = [found[slide.slide_id] for slide in slides if slide.slide_id in found]
    if not records:
        return f"{name}: none of its {plural(len(slides), 'slide')} was processed"
    pending = len(slides) - len(records)
    counts = attrition_summary(records) + (f", {pending} not processed yet" if pending else "")
    labels = [slide.label for slide in slides if not slide.exclude]
    unlabelled = labels.count("")
    if 0 < unlabelled < len(labels):
        counts += f"; {unlabelled} without a label, not trained on"
    lines = [f"{name}: {counts}"]
    for title, messages in (("lost", group_lost(records)), ("warnings", group_warnings(records))):
        if messages:
            lines += [f"  {title}:", *(f"    {line}" for line in first_lines(messages, SHOWN_SLIDES).splitlines())]
    return "\n".join(lines)


def records_so_far(config: Config, name: str) -> dict[str, SlideRecord]:
    """By slide_id, the record of the stage that worked on a slide last."""
    folder, records = config.results / name, {}
    tables = [table for stage in ("tissue", "tiles") for table in (folder / stage).glob("batch_*.csv")]
    tables += (folder / "features" / config.encoder.id).glob("batch_*.csv")
    for table in sorted(tables, key=lambda path: path.stat().st_mtime_ns):
        try:
            records.update({record.slide_id: record for record in read_slide_table(table)})
        except ValueError:  # damaged: the next run makes it again
            continue
    return records


def table_text(summary: Path) -> str:
    """The first table of summary.md and that of external validation, their titles, and the notes below, for the terminal; "" where
    there is no such file."""
    if not summary.is_file():
        return ""
    blocks = summary.read_text(encoding="utf-8").strip().split("\n\n")
    places = [k for k, block in enumerate(blocks) if block.startswith("|")]
    notes = [line for block in blocks for line in block.splitlines() if line.startswith("- ")]
    notes = [line for line in notes if not SLIDES_NOTE.match(line)]
    external = [k for k in places if k > 0 and blocks[k - 1].startswith(EXTERNAL_TITLE)]
    parts = [part for k in (*places[:1], *external) for part in (*blocks[max(0, k - 1) : k], align_markdown(blocks[k]))]
    return "\n\n".join([*parts, first_lines(notes, SHOWN_NOTES)]).strip()


def align_markdown(table: str) -> str:
    """A Markdown table with its columns aligned by spaces instead."""
    header, _, *rows = [
        [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]
        for line in table.splitlines()
    ]
    return aligned_table(header, rows)


def failures_text(jobs: Sequence[Job], printed: Path | None = None) -> str:
    """What failed and why, jobs with the same error together; "" where none did."""
    by_error: dict[str, list[Job]] = {}
    for job in jobs:
        by_error.setdefault(job_error(job, printed), []).append(job)
    lines = []
    for error, (first, *others) in by_error.items():
        more = f" and {len(others)} more: {join_some([job.message or job.rule for job in others], 3)}" if others else ""
        lines.append(f"Failed: {first.message or first.rule}{more}")
        lines += [f"  {line}" for line in error.splitlines()]
        lines += [f"  log: {log.absolute()}" for log in first.logs]
    return "\n".join(lines)


def job_error(job: Job, printed: Path | None = None) -> str:
    """The error in a failed job's log, without indented lines, which are details; else how the job ended, and where to find
    what jobs printed, if anything."""
    text = job.logs[0].read_text(encoding="utf-8", errors="replace") if job.logs and job.logs[0].is_file() else ""
    if errors := list(ERROR_LINE.finditer(text)):
        lines = text[errors[-1].end() :].splitlines()
        return "\n".join(line for line in lines if line.strip() and not line.startswith(" "))
    for ending, meaning in EXIT_STATUS.items():
        if ending in job.ended_by:
            return meaning
    more = f"; see {printed.absolute()}" if printed and printed.is_file() and printed.stat().st_size else ""
    return f"it {job.ended_by or 'failed'} without a message{more}"


def time_text(run: Run) -> str:
    """Whether the run finished, how long it took, and how long its longest steps ran."""
    if run.nothing_to_do:
        return "Nothing to do: all results are up to date."
    steps = sorted(run.step_seconds().items(), key=lambda item: -item[1])[:SHOWN_STEPS]
    longest = ", ".join(f"{step.lower()} {duration(spent)}" for step, spent in steps)
    outcome = "Finished" if run.succeeded else "Not finished: stopped"
    return f"{outcome} after {duration(run.seconds)}" + (f"; longest steps: {longest}" if longest else "")


def next_text(config: Config, run: Run, targets: Collection[str]) -> str:
    """Where to look and what to run next."""
    places = list(_next(config, run, set(targets or ["all"])))
    return "\n".join(["Next:", *(f"  {line}" for line in aligned_rows(places))]) if places else ""


def aligned_rows(rows: Sequence[tuple[str, str]]) -> list[str]:
    width = max(len(first) for first, _ in rows)
    return [f"{first:<{width}}  {second}" for first, second in rows]


def _next(config: Config, run: Run, targets: set[str]) -> Iterator[tuple[str, str]]:
    results = config.results.absolute()
    pages = [results / name / "tissue.html" for name in config.datasets]
    if not run.succeeded:
        yield "the same command again", "once the cause is removed: finished work is kept"
    if targets & {"all", "tissue"} and not (targets & {"all"} and run.succeeded):
        yield from ((str(page), "the tissue found: look before you train") for page in pages if page.is_file())
        if run.succeeded and not config.encoder.is_imported:
            yield f"roformermil view {config.results}", "the slides with the tissue found"
    if "features" in targets and run.succeeded:
        for name in config.datasets:
            yield str(results / name / "features" / config.encoder.id), "the features, one store per slide"
    for study in STUDIES:
        if study in targets and run.succeeded:
            yield str(results / f"{study}.md"), f"the result of the {study}"
    if targets & WITH_TABLE and run.succeeded:
        if (report := results / "report.html").is_file():
            yield str(report), "the report"
        yield str(results / "summary.md"), "the tables as text"
        if not config.encoder.is_imported:
            yield f"roformermil view {config.results}", "the slides with their heat maps"
        name, model = next(iter(config.datasets)), (config.heatmap_models or [config.models[0].id])[0]
        packaged = results / name / config.encoder.id / model / "model"
        if packaged.is_dir():
            weights = [("--weights", config.encoder.weights_path), ("--tissue-weights", config.tissue.weights)]
            options = "".join(
                f" {option} {path}" for option, path in weights if path
            )  # files that a package does not contain
            yield f"roformermil predict SLIDES --model {packaged}{options}", "for new slides"
