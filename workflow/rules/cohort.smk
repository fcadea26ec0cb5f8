# The slides of the data sets: slide sheets, batches and files.
from functools import cache

from snakemake.io import contains_wildcard

from roformermil.bags.folds import check_labels
from roformermil.bags.patients import check_patient_labels
from roformermil.check import check_plan
from roformermil.cohort.batches import divide_into_batches
from roformermil.cohort.covariates import read_covariates
from roformermil.cohort.slide_files import content_id
from roformermil.cohort.slide_sheet import read_slide_sheet
from roformermil.cohort.slide_table import read_slide_table
from roformermil.cohort.tcga_sites import with_sites
from roformermil.errors import Status
from roformermil.project.closing import closing_text
from roformermil.project.job_resources import (
    encoding_memory,
    encoding_minutes,
    training_memory,
    training_minutes,
)
from roformermil.tasks import task_of


@cache
def read_sheet(name):
    """The slides of a data set. Whether files exist is checked where Snakemake plans, unless `download` is to fetch them."""
    dataset = CONFIG.datasets[name]
    check_files = workflow.is_main_process and not dataset.source
    slides = read_slide_sheet(dataset.slides, dataset.root, task_of(CONFIG, name), dataset.allow_absolute, check_files)
    return with_sites(slides, dataset.sites)


def slides_of_dataset(name):
    """The same. Raises WorkflowError."""
    try:
        return read_sheet(name)
    except RoFormerMILError as error:
        raise WorkflowError(str(error)) from None


def text_at_the_end(run):
    """The closing text of a run."""
    targets = workflow.dag_settings.targets if workflow.dag_settings else ()  # None while the workflow is read
    return closing_text(CONFIG, run, read_sheet, targets, Path(PRINTED))


run_log.closing = text_at_the_end

if workflow.is_main_process:  # mistakes are reported before the first job
    problems = list(check_plan(CONFIG, read_sheet))
    for problem in problems:
        if problem.level == "warning":
            logger.warning(str(problem))
    if errors := [str(problem) for problem in problems if problem.level == "error"]:
        raise WorkflowError("\n".join(errors))


@cache
def covariates_of_dataset(name):
    """The covariates of a data set's slides; None where none are configured."""
    if not CONFIG.covariates:
        return None
    listed = [slide.slide_id for slide in slides_of_dataset(name)]
    return read_covariates(CONFIG.datasets[name].slides, CONFIG.covariates, listed)


def dataset_settings(wildcards):
    """The settings of a job's data set."""
    return CONFIG.datasets[wildcards.dataset]


def classes_of_dataset(wildcards):
    """A params function: the classes, joined by commas. A comma alone where there are none: Snakemake would leave out an empty text."""
    return ",".join(dataset_settings(wildcards).classes) or ","


def allow_absolute_option(wildcards):
    """A params function: the option that allows absolute paths in the slide sheet, where the data set does."""
    return "--allow-absolute" if dataset_settings(wildcards).allow_absolute else ""


@cache
def batches_of_dataset(name):
    """The batches of a data set's slides by name."""
    return divide_into_batches(slides_of_dataset(name), CONFIG.slides_per_batch)


def batch_of_job(wildcards):
    """A params function: a job's batch. Raises WorkflowError for a name of none, as of a batch that was divided since."""
    if batch := batches_of_dataset(wildcards.dataset).get(wildcards.batch):
        return batch
    raise WorkflowError(f"{wildcards.dataset} has no batch {wildcards.batch}")


def slides_of_job(wildcards):
    """The slides of a job's batch, or of its data set. On a node, where the whole slide sheet is not read, of the batch's list."""
    if "batch" not in wildcards.keys():
        return slides_of_dataset(wildcards.dataset)
    if not workflow.is_main_process:
        return read_slide_table(Path(BATCH.format(**wildcards)))
    return batch_of_job(wildcards).slides


@cache
def out_of_memory(name):
    """The slides of a data set for which the last run lacked memory: pairs of stage and slide id."""
    tables = (Path(f"{RESULTS}/{name}/{table}.csv") for table in ("slides", "slides_failed"))
    records = [record for table in tables if table.exists() for record in read_slide_table(table)]
    return {(record.stage, record.slide_id) for record in records if record.status == Status.OUT_OF_MEMORY}


def reading_memory(stage, megabytes_of):
    """A resource function: memory of a job that reads slides, `megabytes_of` its threads. Each retry asks for once more, and so
    does a batch with slides for which the last run lacked memory."""

    def megabytes(wildcards, attempt, threads):
        lacked = {(stage, slide.slide_id) for slide in slides_of_job(wildcards)} & out_of_memory(wildcards.dataset)
        return (attempt + bool(lacked)) * megabytes_of(threads)

    return megabytes


def minutes(base, per_slide):
    """A resource function: time of a job, per slide of its batch."""
    return lambda wildcards: bounded(base + per_slide * len(slides_of_job(wildcards)))


def minutes_of_encoding(wildcards, input, threads):
    """A resource function: time of encoding a batch's tiles."""
    slides = len(slides_of_job(wildcards))
    return encoding_minutes(CONFIG.encoder, Path(input.table), slides, threads, has_gpu("embed"))


def folds_of_patients(input):
    """A training's folds.csv, which lists the slides of each patient, where patients are bags."""
    return Path(input.folds) if CONFIG.unit == "patient" else None


def minutes_of_training(wildcards, input, threads):
    """A resource function: time of a training."""
    given = (training_settings(wildcards), threads, has_gpu("train"))
    return training_minutes(Path(input.slides), *given, folds_of_patients(input))


def memory_of_training(wildcards, input, attempt):
    """A resource function: memory of a training."""
    given = (training_settings(wildcards), has_gpu("train"))
    return attempt * training_memory(Path(input.slides), *given, folds_of_patients(input))


def all_batches(pattern):
    """An input function: one file per batch of a data set."""

    def files_of_batches(wildcards):
        return expand(pattern, batch=batches_of_dataset(wildcards.dataset), allow_missing=True)

    return files_of_batches


def feature_tables(wildcards):
    """An input function: the slide tables of all batches that were encoded."""
    pattern, batches = f"{FEATURES}/batch_{{batch}}.csv", {name: batches_of_dataset(name) for name in CONFIG.datasets}
    return [table for name in batches for table in expand(pattern, dataset=name, batch=batches[name])]


def download_tables(name):
    """The slide tables of a data set's downloads, one per batch; none where its settings state no source."""
    batches = batches_of_dataset(name) if CONFIG.datasets[name].source else ()
    return [f"{RESULTS}/{name}/download/batch_{batch}.csv" for batch in batches]


def download_table(wildcards):
    """An input function: the slide table of a batch's download, if its slides are downloaded."""
    return f"{DATASET}/download/batch_{{batch}}.csv".format(**wildcards) if dataset_settings(wildcards).source else []


def user_file(path):
    """An input: a file that the configuration names. Its date does not count (`file_digest` is compared instead). Left out
    where Snakemake would take `{...}` in its path for a wildcard."""
    return ancient(str(path)) if path and not contains_wildcard(path) else []


def published_weights(section):
    """An input: the list of published weights, where a section's are downloaded. Its date does not count."""
    return ancient(PUBLISHED) if section.is_downloaded else []


def published_networks():
    """A parameter: the networks whose published weights are downloaded. Where it changes, they are downloaded again: the list of
    them has the name of the encoder's `id` alone, and its readers take it as `ancient`."""
    encoder = [f"{CONFIG.encoder.name} ({CONFIG.encoder.weights})"] if CONFIG.encoder.is_downloaded else []
    return encoder + (["GrandQC"] if CONFIG.tissue.is_downloaded else [])


def file_digest(path):
    """A params function: the digest of such a file."""
    return lambda wildcards: content_id(Path(path)) if path and Path(path).exists() else ""


def checked_slides(wildcards):
    """An input function without files: a data set's first slide is encoded after `check_slides`. Later a batch does not wait for
    it: were it an input, a new slide would encode all batches again, and if `ancient`, hide other reasons to encode them.
    """
    if not Path(f"{RESULTS}/{wildcards.dataset}/slides_tiled.csv").exists():
        checkpoints.check_slides.get(dataset=wildcards.dataset)
    return []


def collected_slides(wildcards):
    """An input function: a data set's slides.csv. Jobs are planned again once it is written, so that a batch which ran again
    and ended as before does not train its models again."""
    return checkpoints.collect.get(dataset=wildcards.dataset).output.slides


def trained_dataset(wildcards):
    """The data set whose models predict a job's data set: of an external one, the one that it validates."""
    return EXTERNAL.get(wildcards.dataset, wildcards.dataset)


def of_trained_dataset(pattern):
    """An input or params function: a file of that data set."""
    return lambda wildcards: expand(pattern, **{**wildcards, "dataset": trained_dataset(wildcards)}, allow_missing=True)


def fold_models(wildcards):
    """An input function: the models of all folds, of the data set that they were trained on."""
    return expand(
        f"{FOLD}/model.safetensors", dataset=trained_dataset(wildcards), model=wildcards.model, fold=FIRST_FOLDS
    )


def validated_tables(wildcards):
    """An input function: folds and slides of the data set that an external one validates; none for another."""
    folders = [f"{RESULTS}/{EXTERNAL[wildcards.dataset]}"] if wildcards.dataset in EXTERNAL else []
    return expand("{folder}/{table}.csv", folder=folders, table=("folds", "slides"))


def validates_option(wildcards):
    """A params function: the option that names that data set's folder."""
    return ["--validates", f"{RESULTS}/{EXTERNAL[wildcards.dataset]}"] if wildcards.dataset in EXTERNAL else []


def labels_to_train_on(wildcards):
    """An input function without files. Ends the run, before the first job, where labels or classes are missing, or a patient's differ."""
    used = [slide for slide in slides_of_dataset(wildcards.dataset) if not slide.exclude]
    try:
        if wildcards.dataset not in EXTERNAL:
            check_labels(used, task_of(CONFIG, wildcards.dataset))
        if CONFIG.unit == "patient":
            check_patient_labels(used)
    except RoFormerMILError as error:
        remedy = "The targets `tissue` and `features` need no labels"
        purpose = "evaluated" if wildcards.dataset in EXTERNAL else "trained on"
        logger.error(f"{wildcards.dataset} cannot be {purpose}: {error}. {remedy}")
        raise SystemExit(1) from None  # around an error Snakemake would print a traceback
    return []
