# `encoder: {name: imported}`: features of other pipelines in place of our own. The sheet's paths are their .h5 files.
ruleorder: import_features > embed


rule import_features:
    input:
        files=lambda wildcards: [slide.path for slide in batch_slides(wildcards)],
    output:
        status=f"{FEATURES}/batch_{{batch}}.csv",
    log:
        f"{RESULTS}/logs/{{dataset}}/{ENCODER}/import_{{batch}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{dataset}}/{ENCODER}/import_{{batch}}.tsv"
    conda:
        "../../envs/features.yaml"
    resources:
        mem_mb=8000,
        runtime=120,
    params:
        revision=revisions.IMPORT,
        sheet=lambda wildcards: dataset(wildcards).slides,
        root=lambda wildcards: dataset(wildcards).root,
        rows=lambda wildcards: [(slide.slide_id, slide.mpp) for slide in batch_slides(wildcards)],
        absolute=allow_absolute,
        size=CONFIG.slides_per_batch,
        encoder=ENCODER,
        timeout=CONFIG.slide_timeout,
        out=subpath(output.status, parent=True),
    message:
        "Importing features: {wildcards.dataset}, batch {wildcards.batch}"
    shell:
        "roformermil --log {log:q} import --sheet {params.sheet:q} --root {params.root:q}"
        " --batch {wildcards.batch} --batch-size {params.size} --encoder {params.encoder:q}"
        " --out {params.out:q} --status {output.status:q} {params.absolute} --timeout {params.timeout}"
