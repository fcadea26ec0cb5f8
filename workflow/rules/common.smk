# What the rules share: the validated configuration, where things stand, and what a job may ask for.
import os
import shutil
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

import roformermil
from roformermil import revisions
from roformermil.config import Config
from roformermil.errors import RoFormerMILError
from roformermil.files import content_id
from roformermil.following import Follower
from roformermil.progress import FOLLOWED
from roformermil.settings import read_settings, to_text
from roformermil.studies.arms import arm_rows, arms

os.environ.update(ROFORMERMIL_CHECKOUT=str(Path(roformermil.__file__).parents[1]))  # for envs/*.post-deploy.sh

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
CONTACT_SHEETS = [] if CONFIG.encoder.is_imported else [f"{RESULTS}/{name}/tissue.html" for name in CONFIG.datasets]
SLIDES_ENV, FEATURES_ENV = (
    f"../../envs/{'tissue' if CONFIG.needs_tiatoolbox else step}.yaml" for step in ("slides", "features")
)
WEIGHTS = {"tissue": CONFIG.tissue.weights, "encoder": CONFIG.encoder.weights_path}
WEIGHTS_FILE = {step: ancient(path) if path else [] for step, path in WEIGHTS.items()}  # a param has their content
WEIGHTS_ID = {
    step: lambda wildcards, path=path: content_id(Path(path)) if path else "" for step, path in WEIGHTS.items()
}
CORES = workflow.resource_settings.cores or 8  # on a cluster, where the profile sets threads
gpus = workflow.resource_settings.resources.get("gpu")
GPUS_AT_ONCE = max(1, int(getattr(gpus, "raw", gpus) or 1))  # jobs that share this machine's cores
GPUS = int(shutil.which("nvidia-smi") is not None)  # a job takes one where there is one
DATASET = f"{RESULTS}/{{dataset}}"
FEATURES = f"{DATASET}/features/{ENCODER}"
MODEL = f"{DATASET}/{ENCODER}/{{model}}"
FOLD = f"{MODEL}/fold_{{fold}}"


if workflow.is_main_process:  # what jobs say of their progress stands above the live view
    os.environ[FOLLOWED] = "1"
    Follower(Path(RESULTS) / "logs", logger.info).start()


wildcard_constraints:
    dataset="|".join(map(re.escape, CONFIG.datasets)),
    model="|".join(map(re.escape, TRAINABLE)),
    measured="|".join(map(re.escape, MEASURED)),
    tiles=r"\d+",
    batch=r"\d+",
    fold=r"\d+",


def grows(start, slide=0):
    """A resource: so much a job and a slide; each retry asks for as much again. Memory does not grow with a batch: a job
    has as many slides in hand as it has threads, whatever waits."""
    return lambda wildcards, attempt: attempt * (start + (slide and slide * len(slides(wildcards))))


class Unrecorded:
    """A param's value that changes no result: Snakemake records what it can represent, so another value runs nothing again."""

    def __init__(self, value):
        self.value = value

    def __str__(self):
        return str(self.value)


def figure(name, title):
    """An output: one of a data set's figures, as the report shows it. Its caption has the figure's name."""
    return report(
        f"{DATASET}/figures/{name}.png",
        category="3 Figures",
        subcategory="{dataset}",
        labels={"figure": title},
        caption=f"../report/{name}.rst",
    )


def ablation_is_possible(wildcards):
    """No file; an error that says what the configuration lacks."""
    try:
        arm_rows(ARMS)
    except RoFormerMILError as error:
        raise WorkflowError(f"ablation: {error}") from None
    return []
