# Tiles -> vectors -> one Zarr store per slide; then the data set's slide table.


rule features:
    input:
        expand(f"{DATASET}/slides.csv", dataset=CONFIG.datasets),
        feature_tables,  # also where slides.csv is still there
        CONTACT_SHEETS,


rule embed:
    input:
        again=made_again(f"{FEATURES}/batch_{{batch}}.csv", slides_changed("embed", EMBED_SETTINGS)),
        table=f"{DATASET}/tiles/batch_{{batch}}.csv",
        checked=checked_slides,
        weights=user_file(CONFIG.encoder.weights_path),
        published=published_weights(CONFIG.encoder),
    output:
        table=f"{FEATURES}/batch_{{batch}}.csv",
    log:
        f"{RESULTS}/logs/{{dataset}}/{ENCODER}/embed_{{batch}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{dataset}}/{ENCODER}/embed_{{batch}}.tsv"
    conda:
        FEATURES_ENV
    threads: ALL_CORES  # they read slides
    resources:
        mem_mb=reading_memory("embed", lambda threads: encoding_memory(CONFIG.encoder, threads)),
        runtime=minutes_of_encoding,
        gpu=GPU_PER_JOB,
        encoder=to_json(CONFIG.encoder),
        timeout=str(CONFIG.slide_timeout),
        machine=to_json(CONFIG.runtime),
    params:
        version=stage_versions.EMBED,
        tiles=subpath(input.table, parent=True),
        out=subpath(output.table, parent=True),
        weights=file_digest(CONFIG.encoder.weights_path),
        encoder=CONFIG.encoder.deciding_values(),
    message:
        "Encoding tiles: {wildcards.dataset}, batch {wildcards.batch}"
    shell:
        command_line(
            "embed {input.table:q} --tiles {params.tiles:q} --encoder {resources.encoder:q} --runtime {resources.machine:q}"
            " --timeout {resources.timeout} --threads {threads} --memory {resources.mem_mb}"
            " --out {params.out:q} --table {output.table:q}"
        )


checkpoint collect:
    input:
        tables=all_batches(f"{FEATURES}/batch_{{batch}}.csv"),
        checked=[] if CONFIG.encoder.is_imported else f"{DATASET}/slides_tiled.csv",
    output:
        slides=f"{DATASET}/slides.csv",
    log:
        f"{RESULTS}/logs/{{dataset}}/collect.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{dataset}}/collect.tsv"
    localrule: True
    conda:
        "../../envs/download.yaml"
    resources:
        mem_mb=times_attempt(1000),
        runtime=minutes_times_attempt(10),
        max_failed_fraction=str(CONFIG.max_failed_fraction),
    message:
        "Counting slides: {wildcards.dataset}"
    shell:
        command_line(
            "collect {input.tables:q} --max-failed-fraction {resources.max_failed_fraction} --out {output.slides:q}"
        )
