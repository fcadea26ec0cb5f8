# `encoder: {name: imported}`: features of other pipelines instead of our own. The slide sheet's paths are their .h5 files.
ruleorder: import_features > embed


rule import_features:
    input:
        again=made_again(f"{FEATURES}/batch_{{batch}}.csv", slides_changed("import", IMPORT_SETTINGS, is_first=True)),
        slides=BATCH,
        downloaded=download_table,
    output:
        table=f"{FEATURES}/batch_{{batch}}.csv",
    log:
        f"{RESULTS}/logs/{{dataset}}/{ENCODER}/import_{{batch}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{dataset}}/{ENCODER}/import_{{batch}}.tsv"
    conda:
        "../../envs/features.yaml"
    resources:
        mem_mb=reading_memory("import", lambda threads: 8000),
        runtime=minutes(30, per_slide=1),
        timeout=str(CONFIG.slide_timeout),
    params:
        version=stage_versions.IMPORT,
        encoder=ENCODER,
        out=subpath(output.table, parent=True),
    message:
        "Importing features: {wildcards.dataset}, batch {wildcards.batch}"
    shell:
        command_line(
            "import {input.slides:q} --encoder {params.encoder:q} --out {params.out:q} --table {output.table:q}"
            " --timeout {resources.timeout} --memory {resources.mem_mb}"
        )
