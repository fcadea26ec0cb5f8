# What the rules share: the validated configuration, the slide sheets, and where things stand.
import shutil

from snakemake.exceptions import WorkflowError

from roformermil import revisions
from roformermil.config import Config
from roformermil.settings import read_settings, to_text
from roformermil.errors import RoFormerMILError
from roformermil.sheet import read_sheet
from roformermil.studies.arms import arm_rows, arms

try:
    CONFIG = read_settings(Config, config)
    ARMS = arms(CONFIG)
    SHEETS = {name: read_sheet(d.slides, d.root, d.classes, d.allow_absolute) for name, d in CONFIG.datasets.items()}
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
SLIDES_ENV = "../../envs/tissue.yaml" if CONFIG.needs_tiatoolbox else "../../envs/slides.yaml"
FEATURES_ENV = "../../envs/tissue.yaml" if CONFIG.needs_tiatoolbox else "../../envs/features.yaml"
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


def allow_absolute(wildcards):
    return "--allow-absolute" if dataset(wildcards).allow_absolute else ""


def batch_slides(wildcards):
    start = int(wildcards.batch) * CONFIG.slides_per_batch
    return SHEETS[wildcards.dataset][start : start + CONFIG.slides_per_batch]


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
        count = -(-len(SHEETS[wildcards.dataset]) // CONFIG.slides_per_batch)
        return expand(pattern, batch=range(count), allow_missing=True)

    return of
