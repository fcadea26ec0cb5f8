# The paper's open questions: `snakemake ablation` and `snakemake overhead`. Neither is part of `all`.


rule ablation:
    input:
        predictions=expand(f"{FOLD}/predictions.csv", dataset=CONFIG.ablation_datasets, model=VARIANT_IDS, fold=RUNS),
        shuffled=expand(f"{FOLD}/shuffled.csv", dataset=CONFIG.ablation_datasets, model=VARIANT_IDS, fold=RUNS),
        histories=expand(f"{FOLD}/history.csv", dataset=CONFIG.ablation_datasets, model=VARIANT_IDS, fold=RUNS),
        slides=expand(f"{DATASET}/slides.csv", dataset=CONFIG.ablation_datasets),
        leakage=expand(f"{DATASET}/leakage.csv", dataset=CONFIG.ablation_datasets),
    output:
        table=f"{RESULTS}/ablation.csv",
        markdown=f"{RESULTS}/ablation.md",
        provenance=f"{RESULTS}/ablation_provenance.json",
        plot=report(
            f"{RESULTS}/ablation.png",
            category="3 Studies",
            labels={"study": "ablation"},
            caption="../report/ablation.rst",
        ),
    log:
        f"{RESULTS}/logs/ablation.log",
    benchmark:
        f"{RESULTS}/benchmarks/ablation.tsv"
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=times_attempt(4000),
        runtime=minutes_times_attempt(60),
        config=CONFIG.model_dump_json(),
    params:
        version=stage_versions.source_digest("studies/ablation"),
        variants=ablation_variants,
        base=VARIANT_IDS[:1],
        datasets=",".join(CONFIG.ablation_datasets),
        encoder=ENCODER,
        out=subpath(output.table, parent=True),
    message:
        "Comparing the variants of the ablation"
    shell:
        command_line(
            "ablation {input.predictions:q} --variants {params.variants:q} --base {params.base:q}"
            " --datasets {params.datasets} --encoder {params.encoder:q} --out {params.out:q} --config {resources.config:q}"
        )


rule measure:
    output:
        table=f"{RESULTS}/overhead/{{measured}}_{{tiles}}.csv",
    log:
        f"{RESULTS}/logs/overhead/{{measured}}_{{tiles}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/overhead/{{measured}}_{{tiles}}.tsv"
    conda:
        "../../envs/training.yaml"
    threads: ALL_CORES  # nothing else may run while it measures
    resources:
        mem_mb=times_attempt(32000),
        runtime=minutes_times_attempt(240),
        gpu=GPU_PER_JOB,
    params:
        version=stage_versions.MEASURE,
        model=lambda wildcards: to_json(MEASURED_MODELS[wildcards.measured]),
        overhead=CONFIG.overhead.model_dump_json(include={"repeats", "seconds"}),
    message:
        "Measuring {wildcards.measured} on {wildcards.tiles} tiles"
    shell:
        command_line(
            "measure --model {params.model:q} --tiles {wildcards.tiles}"
            " --overhead {params.overhead:q} --threads {threads} --out {output.table:q}"
        )


rule overhead:
    input:
        tables=expand(
            f"{RESULTS}/overhead/{{measured}}_{{tiles}}.csv", measured=MEASURED_MODELS, tiles=CONFIG.overhead.tiles
        ),
    output:
        table=f"{RESULTS}/overhead.csv",
        markdown=f"{RESULTS}/overhead.md",
        provenance=f"{RESULTS}/overhead_provenance.json",
        plot=report(
            f"{RESULTS}/overhead.png",
            category="3 Studies",
            labels={"study": "overhead"},
            caption="../report/overhead.rst",
        ),
    log:
        f"{RESULTS}/logs/overhead.log",
    benchmark:
        f"{RESULTS}/benchmarks/overhead.tsv"
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=times_attempt(2000),
        runtime=minutes_times_attempt(30),
        config=CONFIG.model_dump_json(),
    params:
        version=stage_versions.source_digest("studies/overhead"),
        out=subpath(output.table, parent=True),
    message:
        "Joining the measurements"
    shell:
        command_line("overhead {input.tables:q} --out {params.out:q} --config {resources.config:q}")
