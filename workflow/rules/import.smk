# `encoder: {name: imported}`: features of other pipelines in place of our own. The sheet's paths are their .h5 files.
ruleorder: import_features > embed


rule import_features:
    input:
        files=slide_files(f"features/{ENCODER}"),
        here=downloaded,
    output:
        status=f"{FEATURES}/batch_{{batch}}.csv",
    log:
        f"{RESULTS}/logs/{{dataset}}/{ENCODER}/import_{{batch}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{dataset}}/{ENCODER}/import_{{batch}}.tsv"
    conda:
        "../../envs/features.yaml"
    resources:
        mem_mb=grows(8000),
        runtime=grows(30, slide=1),
    params:
        revision=revisions.IMPORT,
        sheet=lambda wildcards: dataset(wildcards).slides,
        root=lambda wildcards: dataset(wildcards).root,
        rows=columns("slide_id", "path", "mpp", "exclude"),
        absolute=allow_absolute,
        size=CONFIG.slides_per_batch,
        encoder=ENCODER,
        timeout=Unrecorded(CONFIG.slide_timeout),
        out=subpath(output.status, parent=True),
    message:
        "Importing features: {wildcards.dataset}, batch {wildcards.batch}"
    shell:
        "roformermil --log {log:q} import --sheet {params.sheet:q} --root {params.root:q}"
        " --batch {wildcards.batch} --batch-size {params.size} --encoder {params.encoder:q}"
        " --out {params.out:q} --status {output.status:q} {params.absolute} --timeout {params.timeout}"
