# What is downloaded, where Snakemake runs: published weights, and the slides of data sets that state where they come from. What is
# there already is not downloaded again.


rule weights:
    output:
        table=PUBLISHED,
    log:
        f"{RESULTS}/logs/weights.log",
    benchmark:
        f"{RESULTS}/benchmarks/weights.tsv"
    priority: 3
    localrule: True
    conda:
        FEATURES_ENV
    resources:
        mem_mb=times_attempt(CONFIG.encoder.memory),
        runtime=minutes_times_attempt(60),
        encoder=to_json(CONFIG.encoder),
        tissue=to_json(CONFIG.tissue),
    params:
        networks=published_networks(),
        cache=cache_variables(CONFIG.runtime.weights),
    message:
        "Downloading weights"
    shell:
        command_line(
            "weights --encoder {resources.encoder:q} --tissue {resources.tissue:q} --out {output.table:q}",
            downloads=True,
        )


rule download:
    input:
        [table for name in CONFIG.datasets for table in download_tables(name)],


rule download_batch:
    input:
        slides=BATCH,
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
        runtime=minutes(60, per_slide=30),
        downloads=1,
    params:
        root=lambda wildcards: dataset_settings(wildcards).root,
        source=lambda wildcards: to_json(dataset_settings(wildcards).source),
    message:
        "Downloading: {wildcards.dataset}, batch {wildcards.batch}"
    shell:
        command_line(
            "download {input.slides:q} --root {params.root:q} --source {params.source:q} --table {output.table:q}"
        )
