"""What is to be known about each data set and encoder: how many slides, what the results say, and why to be careful with them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from roformermil.bags.leakage import read_findings
from roformermil.cohort.slide_table import attrition_summary, read_slide_table
from roformermil.config import Config, Folds
from roformermil.evaluation.balance import balance_cautions
from roformermil.evaluation.cautions import cautions
from roformermil.evaluation.chance import chance_notes
from roformermil.evaluation.covariates import gain_sentences
from roformermil.evaluation.external import drop_sentences
from roformermil.evaluation.fold_results import FoldResult
from roformermil.evaluation.learning import learning_cautions
from roformermil.evaluation.patients import by_patient, mixed_patients
from roformermil.evaluation.position import position_notes
from roformermil.evaluation.predictions import OutOfFold, read_table
from roformermil.evaluation.shift import TABLE as SHIFT_TABLE
from roformermil.evaluation.shift import shift_caution
from roformermil.evaluation.summary_text import Group
from roformermil.runtime.text import plural


class Caution(NamedTuple):
    """Why to be careful with a model's results; with those of all models where it names none."""

    model: str
    text: str


@dataclass(frozen=True)
class Notes:
    """Lines about a data set and encoder, each of which begins with the name of the data set, or of the encoder."""

    size: str
    findings: list[str] = field(default_factory=list)
    cautions: list[Caution] = field(default_factory=list)

    @property
    def lines(self) -> list[str]:
        return [self.size, *self.findings, *(caution.text for caution in self.cautions)]

    def with_encoder(self, dataset: str, encoder: str, shared: Collection[str]) -> "Notes":
        """With `dataset (encoder)` in place of the name of the data set, but for lines that encoders share."""

        def name(line: str) -> str:
            is_own = line.startswith((f"{dataset}:", f"{dataset},")) and line not in shared
            return line.replace(dataset, f"{dataset} ({encoder})", 1) if is_own else line

        cautions = [Caution(caution.model, name(caution.text)) for caution in self.cautions]
        return Notes(name(self.size), [*map(name, self.findings)], cautions)


def collect_notes(
    results: Sequence[FoldResult],
    models: Sequence[OutOfFold],
    datasets: Sequence[Path],
    settings: Config | None,
    summary: pd.DataFrame,
    external: pd.DataFrame,
    gains: pd.DataFrame,
) -> dict[Group, Notes]:
    """The notes on each data set and encoder.

    models: as of `of_ensembles`; datasets: folders that contain a data set's slides.csv, folds.csv and leakage.csv; summary,
    external, gains: as in summary.csv, external.csv and covariate_gains.csv.
    """
    notes = dataset_notes(models, datasets, settings.folds if settings else None)
    evaluated = set(notes)  # without external data sets that have no labels, and so no results
    external_groups = {(one.dataset, one.encoder): one.trained_on for one in results if one.is_external}
    notes |= _unlabelled_notes({group: on for group, on in external_groups.items() if group not in evaluated}, datasets)
    drops: dict[Group, list[str]] = {}
    for row, sentence in drop_sentences(external):
        drops.setdefault((row["dataset"], row["encoder"]), []).append(f"{row['dataset']}, {row['model']}: {sentence}")
    chance = {group: [line] for group, line in chance_notes(summary).items()}
    for by_group in (gain_sentences(gains), drops, position_notes(summary), chance):
        for group, lines in by_group.items():
            notes[group].findings.extend(lines)
    for group, lines in balance_cautions(results).items():
        if group in evaluated:
            notes[group].cautions.extend(Caution("", line) for line in lines)
    trained = [result for result in results if not result.is_external]
    for (dataset, encoder, model), lines in learning_cautions(trained).items():
        notes[dataset, encoder].cautions.extend(Caution(model, line) for line in lines)
    for group, line in _shift_cautions(external_groups, datasets).items():
        notes[group].cautions.append(Caution("", line))
    return _name_encoders(notes)


def dataset_notes(
    models: Iterable[OutOfFold], datasets: Sequence[Path], folds: Folds | None = None
) -> dict[Group, Notes]:
    """Of each data set and encoder its number of folds and slides, and why its numbers need caution. folds: their settings, where they
    are known."""
    by_site = " by site" if folds and folds.mode == "site" else ""
    notes: dict[Group, Notes] = {}
    for model in models:
        if model.key[:2] in notes:
            continue  # another model, tested on the same slides
        folder = _folder(datasets, model.dataset)
        records, findings = read_slide_table(folder / "slides.csv"), read_findings(folder / "leakage.csv")
        seeds = f" of {model.seed_count} seeds" if model.seed_count > 1 else ""
        tests = f"external, predicted by the ensemble trained on {model.trained_on}"
        tests = tests if model.trained_on else f"{describe_folds(model)}{by_site}{seeds}"
        size = f"{model.dataset}: {tests}; {attrition_summary(records)}"
        if model.unit == "patient":
            size += f"; all slides of a patient are one bag: {plural(len(set(model.patients)), 'patient')}"
        elif by_patient(model) and (mixed := mixed_patients(model)):
            size += f"; {plural(len(mixed), 'patient')} with slides of several labels {'is' if len(mixed) == 1 else 'are'} in no result by patient"
        of_dataset = [Caution("", line) for line in cautions(model, records, findings)]
        notes[model.key[:2]] = Notes(size, cautions=of_dataset)
    return notes


def describe_folds(model: OutOfFold) -> str:
    """How many folds there are, and whether the cross-validation was repeated."""
    if not model.folds_per_repeat:
        return f"{model.fold_count} folds"
    return f"{model.repeat_count} repeats of {model.folds_per_repeat} folds"


def _unlabelled_notes(trained_on: Mapping[Group, str], datasets: Sequence[Path]) -> dict[Group, Notes]:
    """Of external data sets without labels, which have no results. trained_on: what their models were trained on."""
    notes = {}
    for group, trained in trained_on.items():
        slides = attrition_summary(read_slide_table(_folder(datasets, group[0]) / "slides.csv"))
        size = f"{group[0]}: external, predicted by the ensemble trained on {trained}; {slides}; no labels"
        notes[group] = Notes(size)
    return notes


def _shift_cautions(trained_on: Mapping[Group, str], datasets: Sequence[Path]) -> dict[Group, str]:
    """That an external data set's slides look unlike those its models were trained on; without those that do not, or whose shift.csv
    is not there."""
    lines = {}
    for (dataset, encoder), trained in trained_on.items():
        path = _folder(datasets, dataset) / encoder / SHIFT_TABLE
        if path.exists() and (caution := shift_caution(read_table(path), f"those of {trained}")):
            lines[dataset, encoder] = f"{dataset}: {caution}"
    return lines


def _name_encoders(notes: Mapping[Group, Notes]) -> dict[Group, Notes]:
    """The notes with the name of the encoder in lines that are not of all encoders of a data set."""
    return {
        (dataset, encoder): own.with_encoder(
            dataset,
            encoder,
            set.intersection(*(set(other.lines) for (name, _), other in notes.items() if name == dataset)),
        )
        for (dataset, encoder), own in notes.items()
    }


def _folder(datasets: Iterable[Path], name: str) -> Path:
    return next(folder for folder in datasets if folder.name == name)
