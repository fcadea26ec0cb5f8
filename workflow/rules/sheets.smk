# The slides of the data sets: their sheets, their batches, their files, and what of a row decides a job.
from functools import cache

from roformermil.bags.folds import check_enough
from roformermil.errors import FoldsError
from roformermil.files import fingerprint
from roformermil.sheet import read_sheet
from roformermil.status import changed_files, check_attrition, read_status


def dataset(wildcards):
    return CONFIG.datasets[wildcards.dataset]


@cache
def sheet(name):
    """A data set's slides. Those that `download` brings need not be there yet."""
    d = CONFIG.datasets[name]
    try:
        return read_sheet(
            d.slides, d.root, d.classes, d.allow_absolute, files=workflow.is_main_process and not d.source
        )
    except RoFormerMILError as error:
        raise WorkflowError(str(error)) from None


def check_data_set(name):
    """What can be known before the first job: the sheet, whether there are patients enough for the folds, and whether slides that
    were counted before keep a limit of failures that was lowered since."""
    table = Path(f"{RESULTS}/{name}/slides.csv")
    try:
        usable = [slide for slide in sheet(name) if not slide.exclude]
        if table.exists():
            check_attrition(read_status(table), CONFIG.max_failed_fraction, table)
    except RoFormerMILError as error:
        raise WorkflowError(str(error)) from None
    try:
        if not CONFIG.folds.path:
            check_enough(usable, CONFIG.folds, CONFIG.datasets[name].classes)
    except FoldsError as error:  # no error: slides can be segmented and encoded all the same
        logger.warning(f"{name}: training will not be possible: {error}")


if workflow.is_main_process:  # mistakes are named before the first job; a job reads the sheets it needs
    for name in CONFIG.datasets:
        check_data_set(name)


def allow_absolute(wildcards):
    return "--allow-absolute" if dataset(wildcards).allow_absolute else ""


def slides(wildcards):
    """The slides of a job: of its batch, or of the data set."""
    of_data_set = sheet(wildcards.dataset)
    if "batch" not in wildcards.keys():
        return of_data_set
    start = int(wildcards.batch) * CONFIG.slides_per_batch
    return of_data_set[start : start + CONFIG.slides_per_batch]


def batch_numbers(name):
    return range(-(-len(sheet(name)) // CONFIG.slides_per_batch))


def slide_files(stage):
    """An input function: the slide files of a batch, whose first status table lies in the folder `stage`. A file that was only
    touched, or copied anew, is taken as old as it was. Files of data sets with a `source` may not be there yet: none is named.
    """

    def of(wildcards):
        result = f"{RESULTS}/{wildcards.dataset}/{stage}/batch_{wildcards.batch}.csv"
        files = [slide.path for slide in slides(wildcards) if not (slide.exclude or dataset(wildcards).source)]
        changed = changed_files(files, result)
        return [path if path in changed else ancient(path) for path in files]

    return of


def columns(*names):
    """Params function: digest of some columns of a job's rows of the sheet; the job runs again when they change."""
    return lambda wildcards: fingerprint(rows=[[getattr(row, name) for name in names] for row in slides(wildcards)])


def downloads(name):
    """The tables of a data set's slides that have arrived; none where they are there already."""
    numbers = batch_numbers(name) if CONFIG.datasets[name].source else []
    return [f"{RESULTS}/{name}/download/batch_{batch}.csv" for batch in numbers]


def downloaded(wildcards):
    """Input function: the table that says that a batch's slides are there, where they are brought."""
    return downloads(wildcards.dataset)[int(wildcards.batch)] if dataset(wildcards).source else []


def batches(pattern):
    """An input function: the files of all batches of a data set's slides."""

    def of(wildcards):
        return expand(pattern, batch=batch_numbers(wildcards.dataset), allow_missing=True)

    return of
