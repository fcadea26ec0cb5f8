"""The plan of a dry run (`snakemake -n`): which steps of which data sets and batches are to run, and why."""

from collections.abc import Iterable, Sequence

from roformermil.project.run_log import Job, Run
from roformermil.runtime.text import aligned_table, join_some, plural

HEADER = ("data set", "step", "jobs", "which", "why")
NUMBERED = {"fold": "fold", "tiles": "tiles"}  # wildcards that are numbers, and their names
SHOWN_BATCHES = 4
FOLLOWS = "follows from the steps above"
# how Snakemake's reasons begin, the most telling first, and what they mean
REASONS = {
    "Missing output files": "not done yet",
    "Incomplete output files": "was interrupted",
    "Updated input files": "a file that it reads changed",
    "Set of input files": "reads other files than last time",
    "Code has changed": "the workflow changed",
    "Params have changed": "its settings changed",
    "Software environment": "its conda environment changed",
    "Forced": "forced on the command line",
    "Input files updated": FOLLOWS,
}


def plan_text(run: Run) -> str:
    """A table of what is to be done, one row per step of a data set; "" where nothing is."""
    steps: dict[tuple[str, str], list[Job]] = {}
    for job in run.jobs.values():
        if job.message:
            steps.setdefault((job.wildcards.get("dataset", "all"), job.step), []).append(job)
    if not steps:
        return ""
    rows = [(*step, str(len(jobs)), which_jobs(jobs), why(jobs, run)) for step, jobs in steps.items()]
    total = sum(map(len, steps.values()))
    parts = [f"To do: {plural(total, 'job')}", aligned_table(HEADER, rows, right=("jobs",))]
    if any(job.is_checkpoint for job in run.jobs.values()):
        parts.append("Later steps are planned again once it is known which slides can be used.")
    return "\n\n".join(parts)


def which_jobs(jobs: Iterable[Job]) -> str:
    """What distinguishes the jobs of a step: `abmil, ro-abmil; folds 0-4`."""
    values: dict[str, list[str]] = {}
    for job in jobs:
        for name, value in job.wildcards.items():
            if name != "dataset" and value not in values.setdefault(name, []):
                values[name].append(value)
    parts = []
    for name, found in values.items():
        if name == "batch":
            parts.append(f"batch{'es' * (len(found) > 1)} {join_some(sorted(found), SHOWN_BATCHES)}")
        elif name not in NUMBERED:
            parts.append(join_some(sorted(found)))
        else:
            noun = NUMBERED[name] + "s" * (len(found) > 1 and name != "tiles")
            parts.append(f"{noun} {number_ranges(found)}")
    return "; ".join(parts)


def number_ranges(names: Sequence[str]) -> str:
    """Numbers with runs joined: `0-4, 7`. Other names, as of a fold's further seeds, follow."""
    numbers, others = sorted(int(name) for name in names if name.isdigit()), [n for n in names if not n.isdigit()]
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return join_some([*(f"{a}-{b}" if b > a else str(a) for a, b in runs), *others])


def why(jobs: Iterable[Job], run: Run) -> str:
    """Why jobs are to run, each reason once."""
    found: list[str] = []
    for job in jobs:
        own = [line.removeprefix(f"{file}: ") for file in job.outputs for line in run.reasons.get(file, ())]
        stated = [meaning for start, meaning in REASONS.items() if start in job.reason]
        found += own or stated[:1] or [job.reason]
    return join_some(list(dict.fromkeys(found)), 3)
