# The paper's open questions: `snakemake ablation` and `snakemake overhead`. Neither is part of `all`.


rule ablation:
    input:
        predictions=expand(f"{FOLD}/predictions.csv", dataset=CONFIG.datasets, model=ARM_MODELS, fold=FOLDS),
        asked=ablation_is_possible,
        slides=expand(f"{DATASET}/slides.csv", dataset=CONFIG.datasets),
        audits=expand(f"{DATASET}/audit.csv", dataset=CONFIG.datasets),
    output:
        table=f"{RESULTS}/ablation.csv",
        markdown=f"{RESULTS}/ablation.md",
        provenance=f"{RESULTS}/ablation_provenance.json",
        figure=report(
            f"{RESULTS}/ablation.png",
            category="7 Studies",
            labels={"study": "ablation"},
            caption="../report/ablation.rst",
        ),
    log:
        f"{RESULTS}/logs/ablation.log",
    benchmark:
        f"{RESULTS}/benchmarks/ablation.tsv"
    conda:
        "../../envs/figures.yaml"
    resources:
        mem_mb=grows(4000),
        runtime=grows(60),
    params:
        revision=revisions.of_source("studies/ablation"),
        arms=lambda wildcards: arm_rows(ARMS),
        base=ARM_MODELS[:1],
        features=[f"--features {path}" for path in expand(FEATURES, dataset=CONFIG.datasets)],
        out=subpath(output.table, parent=True),
        config=Unrecorded(CONFIG.model_dump_json()),
    message:
        "Comparing the arms of the ablation"
    shell:
        "roformermil --log {log:q} ablation {input.predictions:q} --arms {params.arms:q} --base {params.base:q}"
        " {params.features} --out {params.out:q} --config {params.config:q}"


rule measure:
    output:
        cell=f"{RESULTS}/overhead/{{measured}}_{{tiles}}.csv",
    log:
        f"{RESULTS}/logs/overhead/{{measured}}_{{tiles}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/overhead/{{measured}}_{{tiles}}.tsv"
    conda:
        "../../envs/training.yaml"
    threads: CORES  # nothing else runs while it measures
    resources:
        mem_mb=grows(32000),
        runtime=grows(240),
        gpu=GPUS,
    params:
        revision=revisions.MEASURE,
        model=lambda wildcards: to_text(MEASURED[wildcards.measured]),
        overhead=CONFIG.overhead.model_dump_json(include={"repeats", "seconds"}),
    message:
        "Measuring {wildcards.measured} on {wildcards.tiles} tiles"
    shell:
        "roformermil --log {log:q} measure --model {params.model:q} --tiles {wildcards.tiles}"
        " --overhead {params.overhead:q} --threads {threads} --out {output.cell:q}"


rule overhead:
    input:
        cells=expand(f"{RESULTS}/overhead/{{measured}}_{{tiles}}.csv", measured=MEASURED, tiles=CONFIG.overhead.tiles),
    output:
        table=f"{RESULTS}/overhead.csv",
        markdown=f"{RESULTS}/overhead.md",
        provenance=f"{RESULTS}/overhead_provenance.json",
        figure=report(
            f"{RESULTS}/overhead.png",
            category="7 Studies",
            labels={"study": "overhead"},
            caption="../report/overhead.rst",
        ),
    log:
        f"{RESULTS}/logs/overhead.log",
    benchmark:
        f"{RESULTS}/benchmarks/overhead.tsv"
    conda:
        "../../envs/figures.yaml"
    resources:
        mem_mb=grows(2000),
        runtime=grows(30),
    params:
        revision=revisions.of_source("studies/overhead"),
        out=subpath(output.table, parent=True),
        config=Unrecorded(CONFIG.model_dump_json()),
    message:
        "Joining the measurements"
    shell:
        "roformermil --log {log:q} overhead {input.cells:q} --out {params.out:q} --config {params.config:q}"
