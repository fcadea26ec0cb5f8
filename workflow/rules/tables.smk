# Every published number, from the folds' predictions.


rule tables:
    input:
        expand(RESULTS + "/{table}", table=("metrics.csv", "summary.csv", "summary.md")),


rule evaluate:
    input:
        predictions=expand(
            FOLD + "/predictions.csv", dataset=CONFIG.datasets, model=MODELS, fold=range(CONFIG.folds.count)
        ),
        slides=expand(DATASET + "/slides.csv", dataset=CONFIG.datasets),
    output:
        metrics=RESULTS + "/metrics.csv",
        summary=RESULTS + "/summary.csv",
        table=RESULTS + "/summary.md",
    log:
        RESULTS + "/logs/evaluate.log",
    benchmark:
        RESULTS + "/benchmarks/evaluate.tsv"
    conda:
        "../../envs/evaluation.yaml"
    params:
        slides=lambda wildcards, input: [part for path in input.slides for part in ("--slides", path)],
        out=subpath(output.table, parent=True),
    resources:
        mem_mb=2000,
        runtime=30,
    message:
        "Computing the tables"
    shell:
        "roformermil --log {log} evaluate {input.predictions:q} {params.slides:q} --out {params.out:q}"
