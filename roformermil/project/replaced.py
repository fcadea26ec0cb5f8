"""A slide sheet and a configuration that `init --force` replaces: what of them stays."""

import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import yaml

from roformermil.config import load_config
from roformermil.config.task import TaskName
from roformermil.errors import ConfigError
from roformermil.project.config_file import UNFITTED_FOLDS, ProjectFacts
from roformermil.project.label_table import read_cells
from roformermil.project.slide_names import Patients
from roformermil.tasks import TASKS


def replaced_task(config: Path) -> TaskName:
    """The task of the configuration that is written again; classification where there is none that can be read."""
    with suppress(OSError, ValueError, yaml.YAMLError):
        settings = yaml.safe_load(config.read_text(encoding="utf-8"))
        if isinstance(settings, dict) and settings.get("task") in TASKS:
            return settings["task"]
    return "classification"


def is_same(sheet: Path, table: Path | None) -> bool:
    """Whether the table of labels is the slide sheet that will be replaced, which is there."""
    return table is not None and table.exists() and table.samefile(sheet)


def with_patients_of(sheet: Path, patients: Patients, paths: Mapping[str, Path]) -> Patients:
    """The patients, those in a slide sheet before others. paths: by slide id."""
    columns, rows = read_cells(sheet)
    if not {"slide_id", "patient_id"} <= set(columns):
        return patients
    given = {
        paths[row["slide_id"]]: row["patient_id"] for row in rows if row["patient_id"] and row["slide_id"] in paths
    }
    return Patients(patients.of | given, f"column patient_id of {sheet.name}") if given else patients


def still_fits(config: Path, facts: ProjectFacts) -> bool:
    """Whether a configuration is already there, perhaps edited, that a new one would not correct: of this data set, task and classes,
    and not made before there were labels."""
    try:
        settings, text = load_config(config), config.read_text(encoding="utf-8")
        dataset = settings.datasets[facts.name]
    except (ConfigError, OSError, KeyError):
        return False
    if UNFITTED_FOLDS in " ".join(text.replace("#", " ").split()) and not facts.missing:
        return False
    same_place = (dataset.slides.absolute(), dataset.root.absolute()) == (facts.sheet.absolute(), facts.root)
    return same_place and settings.task == facts.task.name and set(facts.task.classes) <= set(dataset.classes)


def back_up(file: Path) -> Path:
    """A copy of a file that will be replaced."""
    return Path(shutil.copy(file, file.with_name(f"{file.name}.bak")))
