# The slides of the data sets: their sheets, batches and files.
from functools import cache

from roformermil.check import check_plan
from roformermil.cohort.batches import batch_count, columns_digest, slides_of_batch
from roformermil.cohort.slide_files import changed_files, content_id
from roformermil.cohort.slide_sheet import read_slide_sheet


@cache
def sheet(name):
    """The slides of a data set. Files are looked for where Snakemake plans, unless `download` is to fetch them."""
    d = CONFIG.datasets[name]
    check_files = workflow.is_main_process and not d.source
    try:
        return read_slide_sheet(d.slides, d.root, d.classes, d.allow_absolute, check_files)
    except RoFormerMILError as error:
        raise WorkflowError(str(error)) from None


if workflow.is_main_process:  # mistakes are reported before the first job
    for problem in check_plan(CONFIG, sheet):
        if problem.is_error:
            raise WorkflowError(str(problem))
        logger.warning(str(problem))


def dataset_settings(wildcards):
    return CONFIG.datasets[wildcards.dataset]


def allow_absolute_option(wildcards):
    return "--allow-absolute" if dataset_settings(wildcards).allow_absolute else ""


def slides_of_job(wildcards):
    """The slides of a job's batch, or of its data set."""
    slides = sheet(wildcards.dataset)
    if "batch" not in wildcards.keys():
        return slides
    return slides_of_batch(slides, int(wildcards.batch), CONFIG.slides_per_batch)


def sheet_digest(*columns):
    """A params function: digest of some columns of the job's slides."""
    return lambda wildcards: columns_digest(slides_of_job(wildcards), columns)


def slide_files(first_stage):
    """An input function: the slide files of a batch, which the slide table in the folder `first_stage` was made from. Files
    that were touched or copied without a change are `ancient`. Files that are still to be downloaded are not listed."""

    def files_of_batch(wildcards):
        table = Path(f"{RESULTS}/{wildcards.dataset}/{first_stage}/batch_{wildcards.batch}.csv")
        downloaded = dataset_settings(wildcards).source
        files = [slide.path for slide in slides_of_job(wildcards) if not (slide.exclude or downloaded)]
        changed = changed_files(files, table)
        return [str(path) if path in changed else ancient(str(path)) for path in files]

    return files_of_batch


def all_batches(pattern):
    """An input function: a file per batch of a data set."""

    def files_of_batches(wildcards):
        count = batch_count(sheet(wildcards.dataset), CONFIG.slides_per_batch)
        return expand(pattern, batch=range(count), allow_missing=True)

    return files_of_batches


def download_tables(name):
    """The tables of a data set's downloaded batches; none where its slides are there already."""
    count = batch_count(sheet(name), CONFIG.slides_per_batch) if CONFIG.datasets[name].source else 0
    return [f"{RESULTS}/{name}/download/batch_{batch}.csv" for batch in range(count)]


def download_table(wildcards):
    """An input function: the table of a batch's download, where there is one."""
    return download_tables(wildcards.dataset)[int(wildcards.batch)] if dataset_settings(wildcards).source else []


def weights_file(path):
    """An input: a file of weights, whose content counts (`weights_digest`) and not its date."""
    return ancient(str(path)) if path else []


def weights_digest(path):
    """A params function."""
    return lambda wildcards: content_id(path) if path else ""
