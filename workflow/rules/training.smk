# Folds, and one training per fold and model.


rule split:
    input:
        labels=labels_to_train_on,
        again=made_again(f"{DATASET}/folds.csv", split_changed),
        slides=collected_slides,
        validated=validated_tables,
    output:
        folds=f"{DATASET}/folds.csv",
        description=f"{DATASET}/folds.json",
        leakage=f"{DATASET}/leakage.csv",
        covariates=COVARIATES,
    log:
        f"{RESULTS}/logs/{{dataset}}/split.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{dataset}}/split.tsv"
    localrule: True
    conda:
        "../../envs/evaluation.yaml"
    resources:
        mem_mb=times_attempt(1000),
        runtime=minutes_times_attempt(10),
    params:
        version=stage_versions.SPLIT,
        sheet=lambda wildcards: dataset_settings(wildcards).slides,
        root=lambda wildcards: dataset_settings(wildcards).root,
        classes=classes_of_dataset,
        sites=lambda wildcards: dataset_settings(wildcards).sites,
        absolute=allow_absolute_option,
        validates=validates_option,
        folds=to_json(CONFIG.folds),
        leakage=to_json(CONFIG.leakage),
        unit=CONFIG.unit,
    message:
        "Dividing into folds: {wildcards.dataset}"
    shell:
        command_line(
            "split --sheet {params.sheet:q} --root {params.root:q} --slides {input.slides:q}"
            " --classes {params.classes:q} --folds {params.folds:q} --leakage {params.leakage:q}"
            " --sites {params.sites} --unit {params.unit} --out {output.folds:q} {params.absolute} {params.validates:q}",
            columns_option(),
            task_option(),
        )


rule train:
    input:
        again=made_again(f"{FOLD}/model.safetensors", settings_changed),
        slides=f"{DATASET}/slides.csv",
        folds=f"{DATASET}/folds.csv",
        covariates=covariates_of_model,
    output:
        model=f"{FOLD}/model.safetensors",
        history=f"{FOLD}/history.csv",
        predictions=f"{FOLD}/predictions.csv",
        shuffled=f"{FOLD}/shuffled.csv",
    log:
        f"{RESULTS}/logs/{{dataset}}/{ENCODER}/{{model}}/fold_{{fold}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{dataset}}/{ENCODER}/{{model}}/fold_{{fold}}.tsv"
    wildcard_constraints:
        dataset=one_of(TRAINED),
    conda:
        "../../envs/training.yaml"
    threads: 1
    resources:
        mem_mb=memory_of_training,
        runtime=minutes_of_training,
        gpu=GPU_PER_JOB,
        training=lambda wildcards: to_json(training_settings(wildcards)),
    params:
        version=stage_versions.TRAIN,
        features=FEATURES,
        classes=classes_of_dataset,
        model=lambda wildcards: to_json(TRAINABLE_MODELS[wildcards.model]),
        training=lambda wildcards: training_settings(wildcards).deciding_values(),
        fold=lambda wildcards: fold_of_run(wildcards.fold),
        unit=CONFIG.unit,
        out=subpath(output.model, parent=True),
        options=covariates_option,
    message:
        "Training: {wildcards.dataset}, {wildcards.model}, fold {wildcards.fold}"
    shell:
        command_line(
            "train --dataset {wildcards.dataset} --folds {input.folds:q} --fold {params.fold}"
            " --features {params.features:q} --classes {params.classes:q} --model {params.model:q}"
            " --training {resources.training:q} --unit {params.unit} --threads {threads} --out {params.out:q}"
            " {params.options}",
            task_option(),
        )
