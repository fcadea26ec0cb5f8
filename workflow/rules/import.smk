# `encoder: {name: imported}`: features of other pipelines instead of our own. The slide sheet's paths are their .h5 files.
ruleorder: import_features > embed


rule import_features:
    input:
        again=made_again(f"{FEATURES}/batch_{{batch}}.csv", slides_changed("import", IMPORT_SETTINGS, is_first=True)),
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
        mem_mb=reading_memory("import", 8000),
        runtime=times_attempt(30, per_slide=1),
        timeout=str(CONFIG.slide_timeout),
    params:
        version=stage_versions.IMPORT,
        sheet=lambda wildcards: dataset_settings(wildcards).slides,
        root=lambda wildcards: dataset_settings(wildcards).root,
        rows=slide_sheet_digest("slide_id", "path", "mpp", "exclude"),
        absolute=allow_absolute_option,
        size=CONFIG.slides_per_batch,
        encoder=ENCODER,
        out=subpath(output.table, parent=True),
    message:
        "Importing features: {wildcards.dataset}, batch {wildcards.batch}"
    shell:
        command_line(
            "import --sheet {params.sheet:q} --root {params.root:q}"
            " --batch {wildcards.batch} --batch-size {params.size} --encoder {params.encoder:q}"
            " --out {params.out:q} --table {output.table:q} {params.absolute} --timeout {resources.timeout}"
            " --memory {resources.mem_mb}"
        )
