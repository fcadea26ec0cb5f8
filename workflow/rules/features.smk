# Tiles -> vectors -> one Zarr store a slide; then the data set's attrition table.


rule features:
    input:
        expand(f"{DATASET}/slides.csv", dataset=CONFIG.datasets),
        CONTACT_SHEETS,


rule embed:
    input:
        status=f"{DATASET}/tiles/batch_{{batch}}.csv",
        weights=CONFIG.encoder.weights_path or [],
    output:
        status=f"{FEATURES}/batch_{{batch}}.csv",
    log:
        f"{RESULTS}/logs/{{dataset}}/{ENCODER}/embed_{{batch}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{dataset}}/{ENCODER}/embed_{{batch}}.tsv"
    conda:
        FEATURES_ENV
    threads: workflow.cores
    resources:
        mem_mb=8000,
        runtime=720,
        gpu=GPUS,
    params:
        revision=revisions.EMBED,
        tables=subpath(input.status, parent=True),
        out=subpath(output.status, parent=True),
        encoder=to_text(CONFIG.encoder),
        timeout=CONFIG.slide_timeout,
    message:
        "Encoding tiles: {wildcards.dataset}, batch {wildcards.batch}"
    shell:
        "roformermil --log {log:q} embed {input.status:q} --tables {params.tables:q}"
        " --encoder {params.encoder:q} --timeout {params.timeout} --threads {threads} --out {params.out:q} --status {output.status:q}"


rule collect:
    input:
        batches=batches(f"{FEATURES}/batch_{{batch}}.csv"),
    output:
        slides=f"{DATASET}/slides.csv",
    log:
        f"{RESULTS}/logs/{{dataset}}/collect.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{dataset}}/collect.tsv"
    conda:
        "../../envs/slides.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        allowed=CONFIG.max_failed_fraction,
    message:
        "Counting slides: {wildcards.dataset}"
    shell:
        "roformermil --log {log:q} collect {input.batches:q} --max-failed-fraction {params.allowed} --out {output.slides:q}"
