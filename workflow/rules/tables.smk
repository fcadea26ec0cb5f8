# Every published number, from the folds' predictions, and what shows them: the report's pages.


rule tables:
    input:
        expand(f"{RESULTS}/{{table}}", table=("metrics.csv", "summary.csv", "summary.md", "tables.html")),
        expand(f"{DATASET}/figures/curves.png", dataset=CONFIG.datasets),


rule evaluate:
    input:
        predictions=expand(f"{FOLD}/predictions.csv", dataset=CONFIG.datasets, model=MODELS, fold=FOLDS),
        slides=expand(f"{DATASET}/slides.csv", dataset=CONFIG.datasets),
        audits=expand(f"{DATASET}/audit.csv", dataset=CONFIG.datasets),
    output:
        metrics=f"{RESULTS}/metrics.csv",
        summary=report(
            f"{RESULTS}/summary.csv",
            category="6 Tables",
            labels={"table": "summary.csv"},
            caption="../report/summary.rst",
        ),
        table=f"{RESULTS}/summary.md",
        cautions=f"{RESULTS}/cautions.csv",
        classes=report(
            f"{RESULTS}/classes.csv",
            category="6 Tables",
            labels={"table": "classes.csv"},
            caption="../report/classes.rst",
        ),
        calibration=f"{RESULTS}/calibration.csv",
        confusion=f"{RESULTS}/confusion.csv",
        comparisons=report(
            f"{RESULTS}/comparisons.csv",
            category="6 Tables",
            labels={"table": "comparisons.csv"},
            caption="../report/comparisons.rst",
        ),
        provenance=f"{RESULTS}/provenance.json",
    log:
        f"{RESULTS}/logs/evaluate.log",
    benchmark:
        f"{RESULTS}/benchmarks/evaluate.tsv"
    conda:
        "../../envs/evaluation.yaml"
    resources:
        mem_mb=grows(4000),
        runtime=grows(30),
    params:
        revision=revisions.of_source("evaluation/tables"),
        data=[f"--data {RESULTS}/{name}" for name in CONFIG.datasets],
        out=subpath(output.table, parent=True),
        config=Unrecorded(CONFIG.model_dump_json()),
    message:
        "Computing the tables"
    shell:
        "roformermil --log {log:q} evaluate {input.predictions:q} {params.data} --out {params.out:q}"
        " --config {params.config:q}"


localrules:
    overview,


rule overview:
    input:
        tables=expand(
            f"{RESULTS}/{{table}}",
            table=(
                "summary.csv",
                "cautions.csv",
                "classes.csv",
                "comparisons.csv",
                "calibration.csv",
                "provenance.json",
            ),
        ),
        slides=expand(f"{DATASET}/slides.csv", dataset=CONFIG.datasets),
        folds=expand(f"{DATASET}/folds.csv", dataset=CONFIG.datasets),
        audits=expand(f"{DATASET}/audit.csv", dataset=CONFIG.datasets),
    output:
        page=report(
            f"{RESULTS}/overview.html",
            category="1 Overview",
            labels={"page": "overview"},
            caption="../report/overview.rst",
        ),
        tables=report(
            f"{RESULTS}/tables.html",
            category="6 Tables",
            labels={"table": "all of them"},
            caption="../report/tables.rst",
        ),
        comparisons=report(
            f"{RESULTS}/comparisons.png",
            category="4 Models compared",
            labels={"figure": "differences in AUROC"},
            caption="../report/comparisons.rst",
        ),
    log:
        f"{RESULTS}/logs/overview.log",
    benchmark:
        f"{RESULTS}/benchmarks/overview.tsv"
    conda:
        "../../envs/figures.yaml"
    resources:
        mem_mb=grows(2000),
        runtime=grows(10),
    params:
        revision=revisions.of_source("overview"),
        data=[f"--data {RESULTS}/{name}" for name in CONFIG.datasets],
        results=subpath(output.page, parent=True),
    message:
        "Writing the overview"
    shell:
        "roformermil --log {log:q} overview {params.results:q} {params.data}"


rule figures:
    input:
        predictions=expand(f"{FOLD}/predictions.csv", model=MODELS, fold=FOLDS, allow_missing=True),
        histories=expand(f"{FOLD}/history.csv", model=MODELS, fold=FOLDS, allow_missing=True),
        models=expand(f"{FOLD}/model.safetensors", model=MODELS, fold=FOLDS, allow_missing=True),
    output:
        curves=figure("curves", "ROC and precision-recall curves"),
        calibration=figure("calibration", "calibration"),
        confusion=figure("confusion", "confusion matrices"),
        history=figure("history", "training curves"),
    log:
        f"{RESULTS}/logs/{{dataset}}/figures.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{dataset}}/figures.tsv"
    conda:
        "../../envs/figures.yaml"
    resources:
        mem_mb=grows(4000),
        runtime=grows(20),
    params:
        revision=revisions.of_source("figures/data_set"),
        out=subpath(output.curves, parent=True),
    message:
        "Drawing figures: {wildcards.dataset}"
    shell:
        "roformermil --log {log:q} figures {input.predictions:q} --out {params.out:q}"
