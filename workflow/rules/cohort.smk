# The slides of the data sets: slide sheets, batches and files.
from functools import cache

from roformermil.check import check_plan
from roformermil.cohort.batches import batch_count, columns_digest, slides_of_batch
from roformermil.cohort.slide_files import changed_files, content_id
from roformermil.cohort.slide_sheet import read_slide_sheet


@cache
def slides_of_dataset(name):
    """The slides of a data set. Whether files exist is checked where Snakemake plans, unless `download` is to fetch them."""
    dataset = CONFIG.datasets[name]
    check_files = workflow.is_main_process and not dataset.source
    try:
        return read_slide_sheet(dataset.slides, dataset.root, dataset.classes, dataset.allow_absolute, check_files)
    except RoFormerMILError as error:
        raise WorkflowError(str(error)) from None


if workflow.is_main_process:  # mistakes are reported before the first job
    for problem in check_plan(CONFIG, slides_of_dataset):
        if problem.level == "error":
            raise WorkflowError(str(problem))
        logger.warning(str(problem))


def dataset_settings(wildcards):
    """The settings of a job's data set."""
    return CONFIG.datasets[wildcards.dataset]


def allow_absolute_option(wildcards):
    """A params function: the option that allows absolute paths in the slide sheet, where the data set does."""
    return "--allow-absolute" if dataset_settings(wildcards).allow_absolute else ""


def slides_of_job(wildcards):
    """The slides of a job's batch, or of its data set."""
    slides = slides_of_dataset(wildcards.dataset)
    if "batch" not in wildcards.keys():
        return slides
    return slides_of_batch(slides, int(wildcards.batch), CONFIG.slides_per_batch)


def slide_sheet_digest(*columns):
    """A params function: the digest of some columns of the slide sheet, for the slides of a job."""
    return lambda wildcards: columns_digest(slides_of_job(wildcards), columns)


def slide_files(stage):
    """An input function: the slide files of a batch. `stage` is the folder of the slide table that is made from them.

    Files that were touched or copied without a change are `ancient`. Files that are still to be downloaded are left out.
    """

    def files_of_batch(wildcards):
        table = Path(f"{RESULTS}/{wildcards.dataset}/{stage}/batch_{wildcards.batch}.csv")
        downloaded = dataset_settings(wildcards).source
        files = [slide.path for slide in slides_of_job(wildcards) if not (slide.exclude or downloaded)]
        changed = changed_files(files, table)
        return [str(path) if path in changed else ancient(str(path)) for path in files]

    return files_of_batch


def all_batches(pattern):
    """An input function: one file per batch of a data set."""

    def files_of_batches(wildcards):
        count = batch_count(slides_of_dataset(wildcards.dataset), CONFIG.slides_per_batch)
        return expand(pattern, batch=range(count), allow_missing=True)

    return files_of_batches


def download_tables(name):
    """The slide tables of a data set's downloads, one per batch; none where its settings state no source."""
    count = batch_count(slides_of_dataset(name), CONFIG.slides_per_batch) if CONFIG.datasets[name].source else 0
    return [f"{RESULTS}/{name}/download/batch_{batch}.csv" for batch in range(count)]


def download_table(wildcards):
    """An input function: the slide table of a batch's download, if its slides are downloaded."""
    return download_tables(wildcards.dataset)[int(wildcards.batch)] if dataset_settings(wildcards).source else []


def weights_file(path):
    """An input: a file of weights, whose date does not count (`weights_digest` is compared instead)."""
    return ancient(str(path)) if path else []


def weights_digest(path):
    """A params function: the digest of a file of weights."""
    return lambda wildcards: content_id(path) if path else ""
