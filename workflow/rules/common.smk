# What the rules share: the validated configuration, the slide sheets, and where things stand.
import os
import shutil
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError

from roformermil import revisions
from roformermil.config import Config
from roformermil.errors import RoFormerMILError
from roformermil.files import content_id, fingerprint
from roformermil.settings import read_settings, to_text
from roformermil.sheet import read_sheet
from roformermil.status import changed_files
from roformermil.studies.arms import arm_rows, arms

os.environ.update(ROFORMERMIL_CHECKOUT=str(Path(workflow.current_basedir).parents[1]))  # for envs/*.post-deploy.sh

try:
    CONFIG = read_settings(Config, config)
    ARMS = arms(CONFIG)
except RoFormerMILError as error:
    raise WorkflowError(str(error)) from None

RESULTS = CONFIG.results.as_posix()
ENCODER = CONFIG.encoder.id
MODELS = [model.id for model in CONFIG.models]
TRAINABLE = {model.id: model for model in [*CONFIG.models, *(arm.model for arm in ARMS)]}
MEASURED = {model.id: model for model in CONFIG.overhead.models}
ARM_MODELS = list(dict.fromkeys(arm.model.id for arm in ARMS))  # the varied model first
FOLDS = range(CONFIG.folds.count)
CONTACT_SHEETS = [] if CONFIG.encoder.is_imported else [f"{RESULTS}/{name}/tissue.jpg" for name in CONFIG.datasets]
SLIDES_ENV, FEATURES_ENV = (
    f"../../envs/{'tissue' if CONFIG.needs_tiatoolbox else step}.yaml" for step in ("slides", "features")
)
WEIGHTS = {"tissue": CONFIG.tissue.weights, "encoder": CONFIG.encoder.weights_path}
WEIGHTS_FILE = {step: ancient(path) if path else [] for step, path in WEIGHTS.items()}  # a param has their content
WEIGHTS_ID = {
    step: lambda wildcards, path=path: content_id(Path(path)) if path else "" for step, path in WEIGHTS.items()
}
CORES = workflow.resource_settings.cores or 8  # on a cluster, where the profile sets threads
GPUS = int(shutil.which("nvidia-smi") is not None)  # a job takes one where there is one
DATASET = f"{RESULTS}/{{dataset}}"
FEATURES = f"{DATASET}/features/{ENCODER}"
FOLD = f"{DATASET}/{ENCODER}/{{model}}/fold_{{fold}}"


wildcard_constraints:
    dataset="|".join(map(re.escape, CONFIG.datasets)),
    model="|".join(map(re.escape, TRAINABLE)),
    measured="|".join(map(re.escape, MEASURED)),
    tiles=r"\d+",
    batch=r"\d+",
    fold=r"\d+",


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


if workflow.is_main_process:  # mistakes are named before the first job; a job reads the sheets it needs
    for name in CONFIG.datasets:
        sheet(name)


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


def slide_files(wildcards):
    """Input function: the slide files of a batch. One that was only touched, or copied anew, is taken as old as it was."""
    result = f"{RESULTS}/{wildcards.dataset}/tissue/batch_{wildcards.batch}.csv"
    files = [slide.path for slide in slides(wildcards) if not (slide.exclude or dataset(wildcards).source)]
    changed = changed_files(files, result)
    return [path if path in changed else ancient(path) for path in files]


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


def grows(start, slide=0):
    """A resource: so much a job and a slide; each retry asks for as much again."""
    return lambda wildcards, attempt: attempt * (start + (slide and slide * len(slides(wildcards))))


class Unrecorded:
    """A param's value that changes no result: Snakemake records what it can represent, so another value runs nothing again."""

    def __init__(self, value):
        self.value = value

    def __str__(self):
        return str(self.value)


def ablation_is_possible(wildcards):
    """No file; an error that says what the configuration lacks."""
    try:
        arm_rows(ARMS)
    except RoFormerMILError as error:
        raise WorkflowError(f"ablation: {error}") from None
    return []


def batches(pattern):
    """An input function: the files of all batches of a data set's slides."""

    def of(wildcards):
        return expand(pattern, batch=batch_numbers(wildcards.dataset), allow_missing=True)

    return of
