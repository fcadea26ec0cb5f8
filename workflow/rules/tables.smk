# Every published number, from the folds' predictions.


rule tables:
    input:
        expand(f"{RESULTS}/{{table}}", table=("metrics.csv", "summary.csv", "summary.md")),


rule evaluate:
    input:
        predictions=expand(f"{FOLD}/predictions.csv", dataset=CONFIG.datasets, model=MODELS, fold=FOLDS),
        slides=expand(f"{DATASET}/slides.csv", dataset=CONFIG.datasets),
    output:
        metrics=f"{RESULTS}/metrics.csv",
        summary=f"{RESULTS}/summary.csv",
        table=f"{RESULTS}/summary.md",
        provenance=f"{RESULTS}/provenance.json",
    log:
        f"{RESULTS}/logs/evaluate.log",
    benchmark:
        f"{RESULTS}/benchmarks/evaluate.tsv"
    conda:
        "../../envs/evaluation.yaml"
    resources:
        mem_mb=grows(2000),
        runtime=grows(30),
    params:
        revision=revisions.of_source("metrics", "evaluation"),
        slides=lambda wildcards, input: [part for path in input.slides for part in ("--slides", path)],
        out=subpath(output.table, parent=True),
        config=Unrecorded(CONFIG.model_dump_json()),
    message:
        "Computing the tables"
    shell:
        "roformermil --log {log:q} evaluate {input.predictions:q} {params.slides:q} --out {params.out:q}"
        " --config {params.config:q}"
