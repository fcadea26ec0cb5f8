# The slides of data sets that state where they come from, in batches. What is there already is not fetched again.


rule download:
    input:
        [table for name in CONFIG.datasets for table in downloads(name)],


localrules:
    fetch,  # a cluster's nodes often reach no network


rule fetch:
    output:
        status=f"{DATASET}/download/batch_{{batch}}.csv",
    log:
        f"{RESULTS}/logs/{{dataset}}/download_{{batch}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{dataset}}/download_{{batch}}.tsv"
    conda:
        "../../envs/download.yaml"
    resources:
        mem_mb=grows(1000),
        runtime=grows(60, slide=30),
        downloads=1,
    params:
        sheet=lambda wildcards: dataset(wildcards).slides,
        root=lambda wildcards: dataset(wildcards).root,
        rows=columns("slide_id", "path", "exclude"),
        absolute=allow_absolute,
        size=CONFIG.slides_per_batch,
        source=lambda wildcards: to_text(dataset(wildcards).source),
    message:
        "Downloading: {wildcards.dataset}, batch {wildcards.batch}"
    shell:
        "roformermil --log {log:q} download --sheet {params.sheet:q} --root {params.root:q}"
        " --batch {wildcards.batch} --batch-size {params.size} --source {params.source:q}"
        " --status {output.status:q} {params.absolute}"
