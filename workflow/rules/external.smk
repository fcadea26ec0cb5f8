# External validation: the models of a data set predict the slides of another one, which none was trained on.


rule external:
    input:
        model=of_trained_dataset(f"{FOLD}/model.safetensors"),
        slides=f"{DATASET}/slides.csv",
        folds=f"{DATASET}/folds.csv",
        covariates=covariates_of_model,
    output:
        predictions=f"{FOLD}/predictions.csv",
        shuffled=f"{FOLD}/shuffled.csv",
        description=f"{FOLD}/external.json",
    log:
        f"{RESULTS}/logs/{{dataset}}/{ENCODER}/{{model}}/external_{{fold}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{dataset}}/{ENCODER}/{{model}}/external_{{fold}}.tsv"
    wildcard_constraints:
        dataset=one_of(EXTERNAL),
    conda:
        "../../envs/training.yaml"
    threads: 1
    resources:
        mem_mb=memory_of_training,
        runtime=minutes_of_training,
        gpu=GPU_PER_JOB,
    params:
        version=stage_versions.EXTERNAL,
        features=FEATURES,
        fold=lambda wildcards: fold_of_run(wildcards.fold),
        out=subpath(output.predictions, parent=True),
        covariates=covariates_option,
    message:
        "Predicting external slides: {wildcards.dataset}, {wildcards.model}, fold {wildcards.fold}"
    shell:
        command_line(
            "external --model {input.model:q} --folds {input.folds:q} --fold {params.fold} --features {params.features:q}"
            " --dataset {wildcards.dataset} --threads {threads} --out {params.out:q} {params.covariates}"
        )


rule external_plots:
    input:
        predictions=expand(f"{FOLD}/predictions.csv", model=MODEL_IDS, fold=RUNS, allow_missing=True),
        shuffled=expand(f"{FOLD}/shuffled.csv", model=MODEL_IDS, fold=RUNS, allow_missing=True),
        descriptions=expand(f"{FOLD}/external.json", model=MODEL_IDS, fold=RUNS, allow_missing=True),
    output:
        plots=directory(f"{DATASET}/plots"),  # empty without labels
    log:
        f"{RESULTS}/logs/{{dataset}}/plots.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{dataset}}/plots.tsv"
    wildcard_constraints:
        dataset=one_of(EXTERNAL),
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=times_attempt(4000),
        runtime=minutes_times_attempt(20),
    params:
        version=stage_versions.source_digest("report/plots/dataset"),
    message:
        "Drawing plots: {wildcards.dataset}"
    shell:
        command_line("plots {input.predictions:q} --out {output.plots:q}")


rule reference:
    input:
        slides=f"{DATASET}/slides.csv",
        folds=f"{DATASET}/folds.csv",
    output:
        reference=f"{DATASET}/{ENCODER}/reference.safetensors",
    log:
        f"{RESULTS}/logs/{{dataset}}/{ENCODER}/reference.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{dataset}}/{ENCODER}/reference.tsv"
    wildcard_constraints:
        dataset=one_of(TRAINED),
    conda:
        "../../envs/evaluation.yaml"
    resources:
        mem_mb=times_attempt(4000),
        runtime=minutes_times_attempt(30),
    params:
        version=stage_versions.source_digest("evaluation/shift"),
        features=FEATURES,
    message:
        "Describing the training slides: {wildcards.dataset}"
    shell:
        command_line("reference --folds {input.folds:q} --features {params.features:q} --out {output.reference:q}")


rule shift:
    input:
        reference=of_trained_dataset(f"{DATASET}/{ENCODER}/reference.safetensors"),
        slides=f"{DATASET}/slides.csv",
        folds=f"{DATASET}/folds.csv",
    output:
        table=f"{DATASET}/{ENCODER}/shift.csv",
    log:
        f"{RESULTS}/logs/{{dataset}}/{ENCODER}/shift.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{dataset}}/{ENCODER}/shift.tsv"
    wildcard_constraints:
        dataset=one_of(EXTERNAL),
    conda:
        "../../envs/evaluation.yaml"
    resources:
        mem_mb=times_attempt(4000),
        runtime=minutes_times_attempt(30),
    params:
        version=stage_versions.source_digest("evaluation/shift"),
        features=FEATURES,
    message:
        "Comparing slides with the training slides: {wildcards.dataset}"
    shell:
        command_line(
            "shift --reference {input.reference:q} --folds {input.folds:q} --features {params.features:q}"
            " --out {output.table:q}"
        )
