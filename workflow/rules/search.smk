# Settings chosen in each fold by its validation slides: `snakemake search`. Not part of `all`.


use rule train as trial with:
    input:
        again=made_again(f"{TRIAL}/trial.json", trial_changed),
        slides=f"{DATASET}/slides.csv",
        folds=f"{DATASET}/folds.csv",
        covariates=covariates_of_model,
    output:
        trial=f"{TRIAL}/trial.json",
        history=f"{TRIAL}/history.csv",
        predictions=f"{TRIAL}/validation.csv",
    log:
        f"{RESULTS}/logs/{{dataset}}/{ENCODER}/{{model}}/search/fold_{{fold}}/{{setting}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{dataset}}/{ENCODER}/{{model}}/search/fold_{{fold}}/{{setting}}.tsv"
    params:
        model=lambda wildcards: to_json(SEARCHES[wildcards.model][wildcards.setting].model),
        out=subpath(output.trial, parent=True),
        options=lambda wildcards: f"--trial {covariates_option(wildcards)}".strip(),
    message:
        "Trying: {wildcards.dataset}, {wildcards.model}, fold {wildcards.fold}, {wildcards.setting}"


checkpoint choose:
    input:
        trials=trials_of_fold,
    output:
        chosen=CHOICE,
    log:
        f"{RESULTS}/logs/{{dataset}}/{ENCODER}/{{model}}/search/fold_{{fold}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{dataset}}/{ENCODER}/{{model}}/search/fold_{{fold}}.tsv"
    localrule: True
    conda:
        "../../envs/evaluation.yaml"
    resources:
        mem_mb=times_attempt(1000),
        runtime=minutes_times_attempt(10),
    params:
        version=stage_versions.source_digest("studies/trials"),
        score=CONFIG.search.score,
    message:
        "Choosing settings: {wildcards.dataset}, {wildcards.model}, fold {wildcards.fold}"
    shell:
        command_line("choose {input.trials:q} --score {params.score} --out {output.chosen:q}")


use rule train as train_chosen with:
    input:
        again=made_again(f"{SEARCHED}/model.safetensors", choice_changed),
        slides=f"{DATASET}/slides.csv",
        folds=f"{DATASET}/folds.csv",
        covariates=covariates_of_model,
        chosen=choice_of_fold,
    output:
        model=f"{SEARCHED}/model.safetensors",
        history=f"{SEARCHED}/history.csv",
        predictions=f"{SEARCHED}/predictions.csv",
        shuffled=f"{SEARCHED}/shuffled.csv",
    log:
        f"{RESULTS}/logs/{{dataset}}/{ENCODER}/{{model}}{SUFFIX}/fold_{{fold}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{dataset}}/{ENCODER}/{{model}}{SUFFIX}/fold_{{fold}}.tsv"
    params:
        model=lambda wildcards: to_json(model_to_search(wildcards)),
        options=lambda wildcards, input: f"--chosen {shlex.quote(input.chosen)} {covariates_option(wildcards)}".strip(),
    message:
        "Training with the chosen settings: {wildcards.dataset}, {wildcards.model}, fold {wildcards.fold}"


rule search:
    input:
        again=made_again(f"{RESULTS}/search.csv", search_changed),
        trials=all_trials,
        choices=expand(CHOICE, dataset=CONFIG.search_datasets, model=SEARCHES, fold=FOLDS),
        default=expand(f"{FOLD}/predictions.csv", dataset=CONFIG.search_datasets, model=SEARCHES, fold=RUNS),
        chosen=expand(f"{SEARCHED}/predictions.csv", dataset=CONFIG.search_datasets, model=SEARCHES, fold=RUNS),
        slides=expand(f"{DATASET}/slides.csv", dataset=CONFIG.search_datasets),
        leakage=expand(f"{DATASET}/leakage.csv", dataset=CONFIG.search_datasets),
    output:
        table=f"{RESULTS}/search.csv",
        trials=f"{RESULTS}/search_trials.csv",
        markdown=f"{RESULTS}/search.md",
        provenance=f"{RESULTS}/search_provenance.json",
        plot=report(
            f"{RESULTS}/search.png",
            category="3 Studies",
            labels={"study": "search"},
            caption="../report/search.rst",
        ),
    log:
        f"{RESULTS}/logs/search.log",
    benchmark:
        f"{RESULTS}/benchmarks/search.tsv"
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=times_attempt(4000),
        runtime=minutes_times_attempt(60),
        config=CONFIG.model_dump_json(),
    params:
        version=stage_versions.source_digest("studies/search"),
        settings=settings_searched,
        out=subpath(output.table, parent=True),
    message:
        "Comparing the chosen settings with the default"
    shell:
        command_line("search --out {params.out:q} --config {resources.config:q}")
