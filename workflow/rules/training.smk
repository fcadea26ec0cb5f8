# Folds, and one training a fold and model.


rule split:
    input:
        slides=DATASET + "/slides.csv",
    output:
        folds=DATASET + "/folds.csv",
    log:
        RESULTS + "/logs/{dataset}/split.log",
    benchmark:
        RESULTS + "/benchmarks/{dataset}/split.tsv"
    conda:
        "../../envs/training.yaml"
    params:
        sheet=lambda wildcards: dataset(wildcards).slides,
        root=lambda wildcards: dataset(wildcards).root,
        rows=lambda wildcards: [(s.slide_id, s.patient_id, s.label) for s in SHEETS[wildcards.dataset]],
        folds=to_text(CONFIG.folds),
    resources:
        mem_mb=1000,
        runtime=10,
    message:
        "Dividing into folds: {wildcards.dataset}"
    shell:
        "roformermil --log {log} split --sheet {params.sheet:q} --root {params.root:q} --slides {input.slides:q}"
        " --folds {params.folds:q} --out {output.folds:q}"


rule train:
    input:
        slides=DATASET + "/slides.csv",
        folds=DATASET + "/folds.csv",
    output:
        model=FOLD + "/model.safetensors",
        history=FOLD + "/history.csv",
        predictions=FOLD + "/predictions.csv",
    log:
        RESULTS + "/logs/{dataset}/" + ENCODER + "/{model}/fold_{fold}.log",
    benchmark:
        RESULTS + "/benchmarks/{dataset}/" + ENCODER + "/{model}/fold_{fold}.tsv"
    conda:
        "../../envs/training.yaml"
    params:
        features=FEATURES,
        classes=lambda wildcards: ",".join(dataset(wildcards).classes),
        model=lambda wildcards: to_text(MODELS[wildcards.model]),
        training=to_text(CONFIG.training),
        out=subpath(output.model, parent=True),
    threads: 1
    resources:
        mem_mb=8000,
        runtime=720,
        gpu=GPUS,
    message:
        "Training: {wildcards.dataset}, {wildcards.model}, fold {wildcards.fold}"
    shell:
        "roformermil --log {log} train --dataset {wildcards.dataset} --folds {input.folds:q} --fold {wildcards.fold}"
        " --features {params.features:q} --classes {params.classes:q} --model {params.model:q}"
        " --training {params.training:q} --threads {threads} --out {params.out:q}"
