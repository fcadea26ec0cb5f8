"""The covariates of bags as text, from those of their slides. Without torch, which Snakemake's planning need not load."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from roformermil.bags.folds import FoldRow
from roformermil.bags.patients import slides_of_bags
from roformermil.cohort.covariates import Cells, is_number, read_covariate_table
from roformermil.cohort.slide_sheet import Slide
from roformermil.config import Unit
from roformermil.errors import BagError
from roformermil.runtime.files import fingerprint
from roformermil.runtime.text import join_some, plural

REMEDY = "correct the slide sheet, or set unit: slide"


def covariates_of_bags(rows: Iterable[FoldRow], table: Mapping[str, Cells], unit: Unit) -> dict[str, dict[str, str]]:
    """The covariates of each bag, by the id of the slide or patient, in the order of the bags. rows: of one fold or several.

    Of a patient's slides those count whose cell is filled. Raises BagError for a slide that the table lacks, and for a patient
    whose slides differ.
    """
    bags = slides_of_bags(rows, unit)
    if absent := [name for slides in bags.values() for name in slides if name not in table]:
        raise BagError(f"covariates.csv lacks {plural(len(absent), 'slide')}, such as {absent[0]}: run `split` again")
    return merge_covariates(bags, table, REMEDY)


def bag_id(row: FoldRow, unit: Unit) -> str:
    """The id of the bag that a slide is in."""
    return row.patient_id if unit == "patient" else row.slide_id


def check_covariates(slides: Sequence[Slide], table: Mapping[str, Cells], unit: Unit) -> None:
    """Raises BagError for a patient whose slides differ, where a patient is one bag."""
    if unit == "patient":
        patients: dict[str, list[str]] = {}
        for slide in slides:
            patients.setdefault(slide.patient_id, []).append(slide.slide_id)
        merge_covariates(patients, table, REMEDY)


def check_filled(table: Mapping[str, Cells]) -> None:
    """Raises BagError for a covariate that no training slide has."""
    names = next(iter(table.values()), {})
    if empty := [name for name in names if not any(cells[name] for cells in table.values())]:
        columns = f"column {', '.join(empty)} of the slide sheet has no value for any slide in use"
        raise BagError(f"{columns}: fill it in, or leave it out of `covariates`")


def number_columns(table: Iterable[Cells], names: Sequence[str]) -> list[str]:
    """The covariates whose filled cells are all numbers."""
    rows = list(table)
    return [name for name in names if all(is_number(cells[name]) for cells in rows if cells[name])]


def check_numbers(table: Mapping[str, Cells], numbers: Sequence[str]) -> None:
    """Raises BagError for text in one of these covariates, which for the training slides are numbers. table: cells by slide or bag."""
    wrong = [
        f"{name}: {covariate} {cells[covariate]!r}"
        for name, cells in table.items()
        for covariate in numbers
        if cells[covariate] and not is_number(cells[covariate])
    ]
    if wrong:
        expected = "not a number, as the covariate is for all training slides"
        raise BagError(f"{expected}: {join_some(wrong)}; correct the slide sheet, or leave the cell empty")


def merge_covariates(
    bags: Mapping[str, Sequence[str]], table: Mapping[str, Cells], remedy: str = "correct the slide sheet"
) -> dict[str, dict[str, str]]:
    """The covariates of each bag from those of its slides. bags: slide ids by bag; remedy: what to do about slides that differ, for
    which this raises BagError."""
    merged: dict[str, dict[str, str]] = {}
    differing = []
    for bag, slides in bags.items():
        merged[bag] = {}
        for name in dict.fromkeys(name for slide in slides for name in table[slide]):
            filled = {_comparable(cell): cell for slide in slides if (cell := table[slide].get(name, ""))}
            merged[bag][name] = next(iter(filled.values()), "")
            if len(filled) > 1:
                differing.append(f"{bag} ({name}: {', '.join(filled.values())})")
    if differing:
        problem = (
            f"a patient is one bag and needs one value of each covariate, but slides differ: {join_some(differing)}"
        )
        raise BagError(f"{problem}; {remedy}")
    return merged


def covariates_digest(path: Path, rows: Iterable[FoldRow]) -> str:
    """Hash of the covariates of a fold's slides."""
    table = read_covariate_table(path)
    return fingerprint(cells=[[row.slide_id, table.get(row.slide_id)] for row in rows])


def _comparable(cell: str) -> str | float:
    return float(cell) if is_number(cell) else cell
