# Why a job has to run again that Snakemake would not run: slides with older dates, failures that may have passed, and settings
# that results were not made with, where Snakemake has no record of them, as of results that were moved.
from functools import cache

from roformermil.bags.split import reasons_to_split_again
from roformermil.cohort.outdated import (
    embed_digest,
    import_digest,
    reasons_to_list_again,
    reasons_to_repeat,
    segment_digest,
    tile_digest,
)
from roformermil.evaluation.consistency import reasons_to_evaluate_again, reasons_to_train_again
from roformermil.studies.trials import reasons_to_search_again, reasons_to_train_chosen_again, reasons_to_try_again

SEGMENT_SETTINGS = segment_digest(CONFIG.tissue)
TILE_SETTINGS = tile_digest(CONFIG.tiles)
IMPORT_SETTINGS = import_digest(ENCODER)
# `import_features` makes the tables of imported features
EMBED_SETTINGS = "" if CONFIG.encoder.is_imported else embed_digest(CONFIG.encoder)


@cache
def log_once(line):
    logger.info(line)


def made_again(pattern, reasons):
    """An input function without files: has Snakemake run a job again for reasons that it does not notice itself.

    pattern: a file that the job writes. reasons: returns sentences, given that file and the wildcards; none where it does not
    exist.
    """
    seen = set()

    def no_files(wildcards):
        file = pattern.format(**wildcards)
        if workflow.is_main_process and file not in seen:
            seen.add(file)
            for line in reasons(Path(file), wildcards):
                workflow.dag.forcefiles.add(file)  # as --forcerun does; a workflow has no public way
                run_log.run.reasons[file].append(line)
                log_once(f"{getattr(wildcards, 'dataset', RESULTS)}: {line}")
        return []

    return no_files


def rows_changed(table, wildcards):
    """For `made_again`: the rows of the slide sheet that a batch's list was not made of."""
    return reasons_to_list_again(table, slides_of_job(wildcards))


def slides_changed(stage, settings="", is_first=False):
    """For `made_again`: why a stage has to work on a batch again. settings: digest; is_first: whether it reads the slide sheet."""

    def reasons(table, wildcards):
        return reasons_to_repeat(table, stage, settings, slides_of_job(wildcards) if is_first else None)

    return reasons


def split_changed(folds, wildcards):
    """For `made_again`: the slide sheet or settings that the folds were not made of. Given folds are compared by content."""
    slides, task = slides_of_dataset(wildcards.dataset), task_of(CONFIG, wildcards.dataset)
    validates, covariates = EXTERNAL.get(wildcards.dataset), covariates_of_dataset(wildcards.dataset)
    return reasons_to_split_again(folds, slides, task, CONFIG.folds, CONFIG.leakage, validates, covariates, CONFIG.unit)


def settings_changed(model_file, wildcards):
    """For `made_again`: settings that a fold was not trained with. Snakemake has no record of results that were moved."""
    return reasons_to_train_again(model_file, CONFIG, TRAINABLE_MODELS, TRAININGS)


def trial_changed(trial, wildcards):
    """For `made_again`: settings that a trial was not made with."""
    return reasons_to_try_again(trial, CONFIG, SEARCHES[wildcards.model])


def choice_changed(model_file, wildcards):
    """For `made_again`: chosen settings that a fold was not trained with."""
    choice = Path(CHOICE.format(dataset=wildcards.dataset, model=wildcards.model, fold=fold_of_run(wildcards.fold)))
    return reasons_to_train_chosen_again(model_file, CONFIG, model_to_search(wildcards), choice)


def search_changed(table, wildcards):
    """For `made_again`: settings of a search that its tables were not made with."""
    return reasons_to_search_again(table.with_name("search_provenance.json"), CONFIG)


def models_changed(provenance, wildcards):
    """For `made_again`: data sets and models that the tables lack or that are no longer wanted."""
    return reasons_to_evaluate_again(provenance, CONFIG)
