"""What `roformermil init` tells: what it found, what is left to fill in, and how to go on."""

import shlex
from collections import Counter, defaultdict
from collections.abc import Iterator

from roformermil.project.begin import Project
from roformermil.project.labels import SHOWN
from roformermil.project.slide_names import describe_class_folders
from roformermil.runtime.text import first_lines, join_some, plural
from roformermil.slides.scale import mpp_source_text
from roformermil.tasks import Classification

SHOWN_KINDS = 12  # of formats and resolutions


def describe_project(project: Project) -> str:
    """The text for the terminal."""
    lines = [*_describe_files(project), *_describe_patients(project), *_describe_labels(project), ""]
    sheet, config = project.sheet.absolute(), project.config.absolute()
    written = "" if project.keeps_config else f" and {config} (configuration)"
    lines.append(f"Written: {sheet} (slide sheet){written}")
    if project.keeps_config:
        lines.append(f"Kept: {config}, which still fits; for a new one delete it first")
    if project.backups:
        lines.append(f"What they were: {', '.join(str(file.absolute()) for file in project.backups)}")
    if open_ends := list(_open_ends(project)):
        lines += ["", f"Left to fill in, in {project.sheet}:", *(f"- {line}" for line in open_ends)]
    command, facts = shlex.quote(str(project.config)), project.facts
    lines += ["", "Then:", f"  roformermil check {command}"]
    lines.append(f"  roformermil run {command} tissue    # and look at results/{facts.name}/{facts.name}/tissue.html")
    lines.append(f"  roformermil run {command}{' features' if facts.missing else ''}")
    return "\n".join(lines)


def _describe_files(project: Project) -> Iterator[str]:
    yield f"{plural(len(project.opened), 'slide')} in {project.facts.root}"
    kinds: Counter[str] = Counter()
    lost = defaultdict(list)
    for slide in project.opened:
        if slide.record.is_ok:
            kinds[f"{slide.format}, {slide.record.mpp:.2g} um/px ({mpp_source_text(slide.record.mpp_source)})"] += 1
        elif slide.lacks_mpp:
            kinds[f"{slide.format}, no usable resolution"] += 1
        else:
            lost[slide.problem].append(slide.record.slide_id)
    if kinds:
        yield first_lines([f"  {count} x {kind}" for kind, count in kinds.most_common()], SHOWN_KINDS)
    yield from (f"excluded: {join_some(names, SHOWN)}: {problem}" for problem, names in lost.items())
    yield from project.files.describe_others()


def _describe_patients(project: Project) -> Iterator[str]:
    if count := len({row.patient_id for row in project.rows} - {""}):
        source = project.joined.patient_source or project.patients.source
        yield f"{plural(count, 'patient')}, from {source}: check column patient_id"


def _describe_labels(project: Project) -> Iterator[str]:
    yield from project.joined.notes
    yield from project.joined.mismatches
    facts = project.facts
    labels, patients = facts.labelled
    for name in facts.task.classes:
        of_class = facts.patients_of_groups[f"of class {name}"]
        yield f"class {name}: {plural(labels.count(name), 'slide')} of {plural(of_class, 'patient')}"
    if labels and not facts.task.classes:
        yield f"{plural(len(labels), 'slide')} with a label: {facts.task.describe(labels, patients)}"
    if not (project.choices.labels or project.choices.label_folders):
        folders = describe_class_folders(project.files.slides, facts.root)
        if folders and not project.patients.of:
            yield f"the folders {folders} look like classes: --label-folders takes their names as labels"


def _open_ends(project: Project) -> Iterator[str]:
    """What only the user can tell."""
    yield from project.mistakes
    if no_mpp := [slide.record.slide_id for slide in project.opened if slide.lacks_mpp]:
        yield (
            f"column mpp of {plural(len(no_mpp), 'slide')} without a usable resolution ({join_some(no_mpp, SHOWN)}): um/px, "
            "about 0.25 for a scan at 40x and 0.5 at 20x; whoever scanned them knows"
        )
    if not any(row.patient_id for row in project.rows):
        yield (
            "column patient_id, if patients have several slides, so that none trains a model and tests it too. Left blank, each "
            "slide counts as a patient"
        )
    task = project.facts.task
    if project.facts.missing:
        again = (
            f"roformermil init {shlex.quote(str(project.folder))} --labels {shlex.quote(str(project.sheet))} --force"
        )
        again += "" if isinstance(task, Classification) else f" --task {task.name}"
        effect = "names the classes and fits the folds" if isinstance(task, Classification) else "fits the folds"
        yield (
            f"column {' and '.join(task.sheet_columns)}, to train models ({project.facts.missing}); tissue and features need none. Then this {effect}: "
            f"{again} --out {shlex.quote(str(project.config.with_suffix('')))}"
        )
