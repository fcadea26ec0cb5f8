# Tiles -> vectors -> one Zarr store a slide; then the data set's attrition table.


rule features:
    input:
        expand(f"{DATASET}/slides.csv", dataset=CONFIG.datasets),
        CONTACT_SHEETS,


rule embed:
    input:
        status=f"{DATASET}/tiles/batch_{{batch}}.csv",
        weights=WEIGHTS_FILE["encoder"],
    output:
        status=f"{FEATURES}/batch_{{batch}}.csv",
    log:
        f"{RESULTS}/logs/{{dataset}}/{ENCODER}/embed_{{batch}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{dataset}}/{ENCODER}/embed_{{batch}}.tsv"
    conda:
        FEATURES_ENV
    threads: max(1, CORES // GPUS_AT_ONCE)  # they decode slides
    resources:
        mem_mb=grows(8000),
        runtime=grows(60, slide=30),
        gpu=GPUS,
    params:
        revision=revisions.EMBED,
        tables=subpath(input.status, parent=True),
        out=subpath(output.status, parent=True),
        weights=WEIGHTS_ID["encoder"],
        decides=CONFIG.encoder.decisive(),
        encoder=Unrecorded(to_text(CONFIG.encoder)),
        timeout=Unrecorded(CONFIG.slide_timeout),
    message:
        "Encoding tiles: {wildcards.dataset}, batch {wildcards.batch}"
    shell:
        "roformermil --log {log:q} embed {input.status:q} --tables {params.tables:q}"
        " --encoder {params.encoder:q} --timeout {params.timeout} --threads {threads} --out {params.out:q} --status {output.status:q}"


localrules:
    collect,


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
        "../../envs/download.yaml"
    resources:
        mem_mb=grows(1000),
        runtime=grows(10),
    params:
        allowed=Unrecorded(CONFIG.max_failed_fraction),
    message:
        "Counting slides: {wildcards.dataset}"
    shell:
        "roformermil --log {log:q} collect {input.batches:q} --max-failed-fraction {params.allowed} --out {output.slides:q}"
