# What is looked at and handed on: heat maps, and models that another lab can use.


rule sharing:
    input:
        expand(f"{MODEL}/heatmaps/gallery", dataset=CONFIG.datasets, model=CONFIG.heatmap_models),
        expand(f"{MODEL}/model", dataset=CONFIG.datasets, model=MODELS),


rule heatmap:
    input:
        status=f"{FEATURES}/batch_{{batch}}.csv",
        folds=f"{DATASET}/folds.csv",
        models=expand(f"{FOLD}/model.safetensors", fold=FOLDS, allow_missing=True),
    output:
        status=f"{MODEL}/heatmaps/batch_{{batch}}.csv",
    log:
        f"{RESULTS}/logs/{{dataset}}/{ENCODER}/{{model}}/heatmap_{{batch}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{dataset}}/{ENCODER}/{{model}}/heatmap_{{batch}}.tsv"
    conda:
        FEATURES_ENV
    resources:
        mem_mb=grows(8000),
        runtime=grows(20, slide=2),
    params:
        revision=revisions.of_source("heatmap/out_of_fold"),
        models=lambda wildcards: MODEL.format(**wildcards),
        features=subpath(input.status, parent=True),
        out=subpath(output.status, parent=True),
        timeout=Unrecorded(CONFIG.slide_timeout),
    message:
        "Drawing heat maps: {wildcards.dataset}, {wildcards.model}, batch {wildcards.batch}"
    shell:
        "roformermil --log {log:q} heatmap {input.status:q} --folds {input.folds:q} --models {params.models:q}"
        " --features {params.features:q} --out {params.out:q} --status {output.status:q} --timeout {params.timeout}"
        " --threads {threads}"


localrules:
    gallery,
    package,


rule gallery:
    input:
        predictions=expand(f"{FOLD}/predictions.csv", fold=FOLDS, allow_missing=True),
        heatmaps=batches(f"{MODEL}/heatmaps/batch_{{batch}}.csv"),
    output:
        sheets=report(
            directory(f"{MODEL}/heatmaps/gallery"),
            patterns=["{label}/{outcome}/{slide}.jpg"],
            category="5 Heat maps",
            subcategory="{dataset}",
            # one label: of several the page makes switches, and is blank where a combination is not there
            labels={"heat map": "{slide}, {label}, decided {outcome}, by {model}"},
            caption="../report/heatmaps.rst",
        ),
    log:
        f"{RESULTS}/logs/{{dataset}}/{ENCODER}/{{model}}/gallery.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{dataset}}/{ENCODER}/{{model}}/gallery.tsv"
    conda:
        "../../envs/figures.yaml"
    resources:
        mem_mb=grows(2000),
        runtime=grows(10),
    params:
        revision=revisions.of_source("heatmap/gallery"),
        sheets=subpath(output.sheets, parent=True),
        per_class=CONFIG.heatmaps.in_report,
    message:
        "Choosing heat maps: {wildcards.dataset}, {wildcards.model}"
    shell:
        "roformermil --log {log:q} gallery {input.predictions:q} --sheets {params.sheets:q} --out {output.sheets:q}"
        " --per-class {params.per_class}"


rule package:
    input:
        predictions=expand(f"{FOLD}/predictions.csv", fold=FOLDS, allow_missing=True),
        models=expand(f"{FOLD}/model.safetensors", fold=FOLDS, allow_missing=True),
        slides=f"{DATASET}/slides.csv",
        audit=f"{DATASET}/audit.csv",
    output:
        folder=directory(f"{MODEL}/model"),
    log:
        f"{RESULTS}/logs/{{dataset}}/{ENCODER}/{{model}}/package.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{dataset}}/{ENCODER}/{{model}}/package.tsv"
    conda:
        "../../envs/figures.yaml"
    resources:
        mem_mb=grows(2000),
        runtime=grows(10),
    params:
        revision=revisions.of_source("package"),
        data=subpath(input.slides, parent=True),
        features=FEATURES,
        decides=CONFIG.encoder.decisive(),  # tissue and tiles decide what comes before
        settings=Unrecorded(CONFIG.model_dump_json(include={"tissue", "tiles", "encoder"})),
    message:
        "Packaging: {wildcards.dataset}, {wildcards.model}"
    shell:
        "roformermil --log {log:q} package {input.predictions:q} --data {params.data:q} --features {params.features:q}"
        " --settings {params.settings:q} --out {output.folder:q}"
