# The slides of a batch: a slide table that its first stage reads. Written in Snakemake's process, in milliseconds.


rule batch_template:  # one of the results, so that its path stays where the workflow's own changes, as with a release
    output:
        template=f"{RESULTS}/logs/batch.j2",
    log:
        f"{RESULTS}/logs/batch_template.log",
    localrule: True
    conda:
        "../../envs/download.yaml"
    message:
        "Preparing lists of slides"
    shell:
        "echo '{{{{ params.table }}}}' > {output.template:q} 2> {log:q}"


rule list_slides:
    input:
        again=made_again(BATCH, rows_changed),
        template=ancient(rules.batch_template.output.template),
    output:
        table=BATCH,
    log:
        f"{RESULTS}/logs/{{dataset}}/list_slides_{{batch}}.log",
    params:
        table=lambda wildcards: batch_of_job(wildcards).table(),
    message:
        "Listing slides: {wildcards.dataset}, batch {wildcards.batch}"
    template_engine:
        "jinja2"
