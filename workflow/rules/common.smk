# What the rules share: the validated configuration, the paths of results, and the resources of jobs.
import os
import shlex
import shutil
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

from roformermil.project.run_log import RunLog

IS_MODULE = workflow.modifier.parent_modifier is not None  # of another workflow, which says itself how its run ended
run_log = RunLog(dry=workflow.output_settings.dryrun)
if workflow.is_main_process and not IS_MODULE:  # first, so that Ctrl-C ends imports too without a traceback
    run_log.attach(logger)
    run_log.replace_traceback_of_interrupts()

from roformermil.errors import RoFormerMILError
from roformermil.project.workflow import check_rules


def read_source(name):
    """The text of a file of this workflow, which may be in a folder, a git repository or on a web server."""
    return workflow.sourcecache.open(workflow.current_basedir.join(f"../{name}")).read()


def install_command():
    """The command that installs the package of this workflow's release or commit."""
    source = workflow.current_basedir.join("../..")
    if hasattr(source, "host"):  # github(), gitlab()
        return f"pip install git+https://{source.host}/{source.repo}@{source.ref}"
    return f"pip install {shlex.quote(str(source))}"


def given_config():
    """The configuration. Snakemake merges a --configfile into that of a deployed Snakefile, whose demo it should replace; what
    only --config gives is merged."""
    given = workflow.config_settings.overwrite_config
    from_file = IS_MODULE and workflow.overwrite_configfiles and "datasets" in given
    is_merged = from_file and config.get("datasets", {}).items() >= given["datasets"].items()
    return given if is_merged else config


if workflow.is_main_process:  # before anything else is imported: of another release, it may lack what is imported here
    try:
        check_rules(read_source, install_command())
    except RoFormerMILError as error:
        raise WorkflowError(str(error)) from None

from roformermil.config import Config
from roformermil.config.base import read_settings, to_json
from roformermil.config.runtime import cache_variables
from roformermil.config.search import SUFFIX
from roformermil.config.training import fold_of_run, run_names, training_of_run
from roformermil.project.job_resources import bounded
from roformermil.project.live_view import time_steps
from roformermil.runtime import stage_versions
from roformermil.runtime.live_log import LiveLog
from roformermil.runtime.memory import machine_memory
from roformermil.runtime.provenance import check_command, code_variables
from roformermil.studies.search_space import check_searches, list_searches, searched_id
from roformermil.studies.variants import list_variants, variants_json
from roformermil.tasks import TASKS

for name, value in code_variables().items():  # jobs compare their code with it; envs/*.post-deploy.sh installs it
    if workflow.is_main_process or name not in os.environ:  # jobs of a cluster inherit it
        os.environ[name] = value

try:
    CONFIG = read_settings(Config, given_config())
    VARIANTS = list_variants(CONFIG)
    SEARCHES = list_searches(CONFIG)
except RoFormerMILError as error:
    raise WorkflowError(str(error)) from None

if "apptainer" in map(str, workflow.deployment_settings.deployment_method) and not CONFIG.runtime.container:
    raise WorkflowError("--sdm apptainer needs the image that jobs run in: set runtime.container (docs/cluster.md)")

TASK = TASKS[CONFIG.task]
RESULTS = CONFIG.results.as_posix()
ENCODER = CONFIG.encoder.id
DATASET = f"{RESULTS}/{{dataset}}"
BATCH = f"{DATASET}/batches/{{batch}}.csv"
FEATURES = f"{DATASET}/features/{ENCODER}"
MODEL = f"{DATASET}/{ENCODER}/{{model}}"
FOLD = f"{MODEL}/fold_{{fold}}"
SEARCHED = f"{MODEL}{SUFFIX}/fold_{{fold}}"
TRIAL = f"{MODEL}/search/fold_{{fold}}/{{setting}}"
CHOICE = f"{MODEL}/search/fold_{{fold}}/chosen.json"
LIVE_LOG = f"{RESULTS}/logs/live.log"
PUBLISHED = f"{RESULTS}/weights/{ENCODER}.txt"
PRINTED = f"{RESULTS}/logs/printed.log"  # by jobs, and by libraries in them

COVARIATES = [f"{DATASET}/covariates.csv"] if CONFIG.covariates else []  # written beside folds.csv
COVARIATE_GAINS = [f"{RESULTS}/covariate_gains.csv"] if CONFIG.covariates else []

TRAINED = CONFIG.trained_datasets
EXTERNAL = CONFIG.external_datasets  # by name, the data set that each validates
MODEL_IDS = [model.id for model in CONFIG.models]
VARIANT_IDS = list(dict.fromkeys(variant.model.id for variant in VARIANTS))  # the varied model first
TRAINABLE_MODELS = {model.id: model for model in [*CONFIG.models, *(variant.model for variant in VARIANTS)]}
TRAININGS = dict.fromkeys(MODEL_IDS, CONFIG.training) | {one.model.id: one.training for one in VARIANTS}
MEASURED_MODELS = {model.id: model for model in CONFIG.overhead.models}
FOLDS = CONFIG.folds.numbers
FIRST_FOLDS = range(CONFIG.folds.count)  # which test each slide once
RUNS = run_names(FOLDS, CONFIG.training)  # a fold's first training has the fold's name

try:
    ALL_CORES = workflow.cores
except WorkflowError:  # on a cluster there is no such limit, and the profile sets the threads of these rules
    ALL_CORES = 8
GPU_PER_JOB = int(shutil.which("nvidia-smi") is not None)
SLIDES_ENV, FEATURES_ENV = (
    f"../../envs/{'tissue' if CONFIG.needs_tiatoolbox else step}.yaml" for step in ("slides", "features")
)


wildcard_constraints:
    dataset="|".join(map(re.escape, CONFIG.datasets)),
    model="|".join(map(re.escape, TRAINABLE_MODELS)),
    measured="|".join(map(re.escape, MEASURED_MODELS)),
    tiles=r"\d+",
    batch="all|[01]+",  # see cohort/batches.py
    fold=r"\d+(_seed_-?\d+)?",
    setting="[^/]+",


if workflow.is_main_process and workflow.local_exec and workflow.global_resources.get("mem_mb") is None:
    workflow.register_resource("mem_mb", machine_memory() // 10**6)  # as many jobs at once as fit into memory
os.environ |= cache_variables(CONFIG.runtime.weights)
live_log = LiveLog(Path(LIVE_LOG), logger.info)
if workflow.is_main_process and not IS_MODULE:
    time_steps(workflow.logger_manager.get_log_handlers())
if not IS_MODULE:  # what jobs print themselves, as where Ctrl-C ends one, would break the live view
    shell.prefix(f"set -euo pipefail; [ ! -e {shlex.quote(LIVE_LOG)} ] || exec 2>>{shlex.quote(PRINTED)}; ")


onstart:
    if workflow.local_exec and not workflow.deployment_settings.deployment_method:  # jobs run what is on PATH here
        try:
            check_command()
        except RoFormerMILError as error:
            raise WorkflowError(str(error)) from None
    Path(PRINTED).unlink(missing_ok=True)  # of an earlier run
    live_log.start()


onsuccess:
    live_log.stop()


onerror:
    live_log.stop()


# Rules take settings that change no result from `resources`: Snakemake records `params`, and runs a job again when one changes.


def command_line(arguments, *options, downloads=False):
    """A shell command: the package's, with the log of a job. In place of the shell, which SIGTERM would end at once.

    options: ends of the command line, empty where a run has no such settings: its jobs then have the text of those before there were
    any, and are not run again; downloads: whether it may download weights. Nodes of a cluster often have no network, and many
    jobs would at once.
    """
    return f"{'' if downloads else 'HF_HUB_OFFLINE=1 '}exec roformermil --log {{log:q}} --live-log {shlex.quote(LIVE_LOG)} {arguments}{''.join(options)}"


def times_attempt(megabytes):
    """A resource function: memory, which each retry asks for once more."""
    return lambda wildcards, attempt: attempt * megabytes


def minutes_times_attempt(minutes):
    """A resource function: time of a job that begins again at a retry, which asks for once more. Jobs that work slide by slide or
    epoch by epoch resume, and need no more time."""
    return lambda wildcards, attempt: bounded(attempt * minutes)


def has_gpu(rule):
    """Whether a rule's jobs have a GPU: as the profile says, else whether this machine has one."""
    own = workflow.resource_settings.overwrite_resources
    stated = [str(own[name]["gpu"]) for name in own if name.endswith(rule) and "gpu" in own[name]]
    return stated[0] != "0" if stated else bool(GPU_PER_JOB)


def training_settings(wildcards):
    """The settings of a training: those of its model, with its seed; of a trial, those that it tries."""
    if "setting" in wildcards.keys():
        return SEARCHES[wildcards.model][wildcards.setting].training
    return training_of_run(wildcards.fold, TRAININGS[wildcards.model])


def covariates_of_model(wildcards):
    """An input function: the covariates of a job's data set, for a model that uses them."""
    return COVARIATES if TRAINABLE_MODELS[wildcards.model].uses_covariates else []


def covariates_option(wildcards):
    """A params function: the option that names them; empty, as before there were any, for a model that uses none."""
    files = expand(covariates_of_model(wildcards), **wildcards)
    return f"--covariates {shlex.quote(files[0])}" if files else ""


def task_option():
    """For `command_line`: what is predicted."""
    return "" if CONFIG.task == "classification" else f" --task {CONFIG.task}"


def columns_option():
    """For `command_line`: the columns of the slide sheet that are covariates."""
    return f" --covariates {shlex.quote(','.join(CONFIG.covariates))}" if CONFIG.covariates else ""


def one_of(names):
    """A wildcard constraint: these names alone, none where there are none."""
    return "|".join(map(re.escape, names)) or r"(?!)"


def ablation_variants(wildcards):
    """A params function: the variants of the ablation. Raises where the configuration has none to compare."""
    try:
        return variants_json(VARIANTS)
    except RoFormerMILError as error:
        raise WorkflowError(f"ablation: {error}") from None


def trials_of_fold(wildcards):
    """An input function: the trials of a fold."""
    return expand(f"{TRIAL}/trial.json", setting=SEARCHES[wildcards.model], allow_missing=True)


def all_trials(wildcards):
    """An input function: the trials of all folds."""
    patterns = [
        expand(f"{TRIAL}/trial.json", model=m, setting=tried, allow_missing=True) for m, tried in SEARCHES.items()
    ]
    return [file for pattern in patterns for file in expand(pattern, dataset=CONFIG.search_datasets, fold=FOLDS)]


def model_to_search(wildcards):
    """The model of a job under the id with which its chosen settings are trained."""
    model = TRAINABLE_MODELS[wildcards.model]
    return model.model_copy(update={"id": searched_id(model)})


def choice_of_fold(wildcards):
    """An input function: what a fold's search chose. Jobs are planned again once it is written: where the choice is the same as
    before, the fold is not trained again."""
    fold = fold_of_run(wildcards.fold)
    return checkpoints.choose.get(dataset=wildcards.dataset, model=wildcards.model, fold=fold).output.chosen


def settings_searched(wildcards):
    """A params function: the settings that were tried, by model. Raises where the configuration has nothing to search."""
    try:
        check_searches(SEARCHES)
    except RoFormerMILError as error:
        raise WorkflowError(f"search: {error}") from None
    return {model: list(settings) for model, settings in SEARCHES.items()}
