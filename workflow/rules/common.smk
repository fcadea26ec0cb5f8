# What the rules share: the validated configuration, the places of results, and what a job may ask for.
import os
import shutil
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

import roformermil
from roformermil.config import Config
from roformermil.config.base import read_settings, to_json
from roformermil.errors import RoFormerMILError
from roformermil.runtime import stage_versions
from roformermil.runtime.live_log import LiveLog
from roformermil.studies.variants import list_variants, variants_json

os.environ["ROFORMERMIL_CHECKOUT"] = str(Path(roformermil.__file__).parents[1])  # read by envs/*.post-deploy.sh

try:
    CONFIG = read_settings(Config, config)
    VARIANTS = list_variants(CONFIG)
except RoFormerMILError as error:
    raise WorkflowError(str(error)) from None

RESULTS = CONFIG.results.as_posix()
ENCODER = CONFIG.encoder.id
DATASET = f"{RESULTS}/{{dataset}}"
FEATURES = f"{DATASET}/features/{ENCODER}"
MODEL = f"{DATASET}/{ENCODER}/{{model}}"
FOLD = f"{MODEL}/fold_{{fold}}"
LIVE_LOG = f"{RESULTS}/logs/live.log"
ROFORMERMIL = f"roformermil --log {{log:q}} --live-log '{LIVE_LOG}'"

MODEL_IDS = [model.id for model in CONFIG.models]
VARIANT_IDS = list(dict.fromkeys(variant.model.id for variant in VARIANTS))  # the varied model first
TRAINABLE_MODELS = {model.id: model for model in [*CONFIG.models, *(variant.model for variant in VARIANTS)]}
MEASURED_MODELS = {model.id: model for model in CONFIG.overhead.models}
FOLDS = range(CONFIG.folds.count)

ALL_CORES = workflow.cores or 8  # on a cluster, where the profile sets threads
GPU_PER_JOB = int(shutil.which("nvidia-smi") is not None)
SLIDES_ENV, FEATURES_ENV = (
    f"../../envs/{'tissue' if CONFIG.needs_tiatoolbox else step}.yaml" for step in ("slides", "features")
)


wildcard_constraints:
    dataset="|".join(map(re.escape, CONFIG.datasets)),
    model="|".join(map(re.escape, TRAINABLE_MODELS)),
    measured="|".join(map(re.escape, MEASURED_MODELS)),
    tiles=r"\d+",
    batch=r"\d+",
    fold=r"\d+",


onstart:
    LiveLog(Path(LIVE_LOG), logger.info).start()


# Settings that change no result are resources: Snakemake records params, and runs a job again when one changes.


def times_attempt(base, per_slide=0):
    """A resource that each retry asks for again: an amount per job, and per slide of its batch. Memory does not grow with the
    batch: a job works on as many slides at once as it has threads."""
    return lambda wildcards, attempt: attempt * (base + (per_slide and per_slide * len(slides_of_job(wildcards))))


def plot_in_report(name, title):
    """A plot of a data set, with the caption of its name."""
    return report(
        f"{DATASET}/plots/{name}.png",
        category="3 Plots",
        subcategory="{dataset}",
        labels={"plot": title},
        caption=f"../report/{name}.rst",
    )
