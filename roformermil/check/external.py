"""The checks of an external data set beside the one that it validates: what both slide sheets contain, and whether covariates fit."""

from collections.abc import Iterator, Sequence

from roformermil.bags.covariate_table import check_numbers, number_columns
from roformermil.bags.external import SAME_NAMES
from roformermil.check.problems import Level, Problem
from roformermil.cohort.covariates import read_covariates
from roformermil.cohort.slide_sheet import Slide
from roformermil.config import Config
from roformermil.errors import BagError, SheetError
from roformermil.runtime.text import join_some, plural


def check_external(config: Config, name: str, slides: Sequence[Slide], trained: Sequence[Slide]) -> Iterator[Problem]:
    """Patients, files and sites that an external data set shares with the one trained on, and covariates that are numbers there and
    text here. slides, trained: those in use."""
    other = config.external_datasets[name]
    exclude = "leave them out of one of the two (column exclude), or set leakage.{}: warn"
    if shared := sorted({one.patient_id for one in slides} & {one.patient_id for one in trained}):
        message = f"{plural(len(shared), 'patient')} also in {other}: {join_some(shared)}; {SAME_NAMES}, else "
        yield Problem(_level(config.leakage.patients), message + exclude.format("patients"), name)
    files = {one.path.resolve() for one in trained}
    if same := [one.slide_id for one in slides if one.path.resolve() in files]:
        message = f"{plural(len(same), 'slide')} with the same file as a slide of {other}: {join_some(same)}; "
        yield Problem(_level(config.leakage.duplicates), message + exclude.format("duplicates"), name)
    if sites := sorted({one.site for one in slides if one.site} & {one.site for one in trained}):
        advice = "a model may know what their scanners and stains look like"
        yield Problem("warning", f"{plural(len(sites), 'site')} also in {other}: {join_some(sites)}; {advice}", name)
    if not any(one.label for one in slides):
        yield Problem("info", f"has no labels: its slides are predicted by the models of {other}, not evaluated", name)
    yield from _check_covariates(config, name, slides, trained)


def _check_covariates(
    config: Config, name: str, slides: Sequence[Slide], trained: Sequence[Slide]
) -> Iterator[Problem]:
    names, sheets = config.covariates, {name: slides, config.external_datasets[name]: trained}
    try:
        own, of_trained = (
            read_covariates(config.datasets[dataset].slides, names, [one.slide_id for one in listed])
            for dataset, listed in sheets.items()
        )
        check_numbers(own, numbers := number_columns(of_trained.values(), names))
    except SheetError:
        return  # told where each slide sheet is checked
    except BagError as error:
        yield Problem("error", str(error), name)
        return
    for covariate in (one for one in names if one not in numbers):
        values, known = ({cells[covariate] for cells in table.values()} - {""} for table in (own, of_trained))
        if new := sorted(values - known):
            message = f"covariate {covariate} has values that no slide of {config.external_datasets[name]} has"
            yield Problem("warning", f"{message}: {join_some(new)}; they count as no category", name)


def _level(on_leak: str) -> Level:
    return "error" if on_leak == "fail" else "warning"
