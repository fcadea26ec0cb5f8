# Folds, and one training a fold and model.


localrules:
    split,


rule split:
    input:
        slides=f"{DATASET}/slides.csv",
        given=CONFIG.folds.path or [],
    output:
        folds=f"{DATASET}/folds.csv",
        audit=f"{DATASET}/audit.csv",
    log:
        f"{RESULTS}/logs/{{dataset}}/split.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{dataset}}/split.tsv"
    conda:
        "../../envs/evaluation.yaml"
    resources:
        mem_mb=grows(1000),
        runtime=grows(10),
    params:
        revision=revisions.SPLIT,
        sheet=lambda wildcards: dataset(wildcards).slides,
        root=lambda wildcards: dataset(wildcards).root,
        rows=columns("slide_id", "patient_id", "label", "site"),
        classes=lambda wildcards: ",".join(dataset(wildcards).classes),
        absolute=allow_absolute,
        folds=to_text(CONFIG.folds),
        audit=to_text(CONFIG.audit),
    message:
        "Dividing into folds: {wildcards.dataset}"
    shell:
        "roformermil --log {log:q} split --sheet {params.sheet:q} --root {params.root:q} --slides {input.slides:q}"
        " --classes {params.classes:q} --folds {params.folds:q} --audit {params.audit:q}"
        " --out {output.folds:q} {params.absolute}"


rule train:
    input:
        slides=f"{DATASET}/slides.csv",
        folds=f"{DATASET}/folds.csv",
    output:
        model=f"{FOLD}/model.safetensors",
        history=f"{FOLD}/history.csv",
        predictions=f"{FOLD}/predictions.csv",
    log:
        f"{RESULTS}/logs/{{dataset}}/{ENCODER}/{{model}}/fold_{{fold}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{dataset}}/{ENCODER}/{{model}}/fold_{{fold}}.tsv"
    conda:
        "../../envs/training.yaml"
    threads: 1
    resources:
        mem_mb=grows(4000 + round(1000 * CONFIG.training.cache_gb)),  # what is cached, and a step
        runtime=grows(720),
        gpu=GPUS,
    params:
        revision=revisions.TRAIN,
        features=FEATURES,
        classes=lambda wildcards: ",".join(dataset(wildcards).classes),
        model=lambda wildcards: to_text(TRAINABLE[wildcards.model]),
        decides=CONFIG.training.decisive(),
        training=Unrecorded(to_text(CONFIG.training)),
        out=subpath(output.model, parent=True),
    message:
        "Training: {wildcards.dataset}, {wildcards.model}, fold {wildcards.fold}"
    shell:
        "roformermil --log {log:q} train --dataset {wildcards.dataset} --folds {input.folds:q} --fold {wildcards.fold}"
        " --features {params.features:q} --classes {params.classes:q} --model {params.model:q}"
        " --training {params.training:q} --threads {threads} --out {params.out:q}"
