# The slides of data sets that state where they come from, in batches. Slides that are there already are not downloaded again.


rule download:
    input:
        [table for name in CONFIG.datasets for table in download_tables(name)],


rule download_batch:
    output:
        table=f"{DATASET}/download/batch_{{batch}}.csv",
    log:
        f"{RESULTS}/logs/{{dataset}}/download_{{batch}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{dataset}}/download_{{batch}}.tsv"
    localrule: True  # nodes of a cluster often have no network
    conda:
        "../../envs/download.yaml"
    resources:
        mem_mb=times_attempt(1000),
        runtime=times_attempt(60, per_slide=30),
        downloads=1,
    params:
        sheet=lambda wildcards: dataset_settings(wildcards).slides,
        root=lambda wildcards: dataset_settings(wildcards).root,
        rows=slide_sheet_digest("slide_id", "path", "exclude"),
        absolute=allow_absolute_option,
        size=CONFIG.slides_per_batch,
        source=lambda wildcards: to_json(dataset_settings(wildcards).source),
    message:
        "Downloading: {wildcards.dataset}, batch {wildcards.batch}"
    shell:
        command_line(
            "download --sheet {params.sheet:q} --root {params.root:q}"
            " --batch {wildcards.batch} --batch-size {params.size} --source {params.source:q}"
            " --table {output.table:q} {params.absolute}"
        )
