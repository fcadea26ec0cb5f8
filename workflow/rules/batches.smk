# The slides of a batch: a slide table that its first stage reads. Written in Snakemake's process, in milliseconds.


rule list_slides:
    input:
        again=made_again(BATCH, rows_changed),
        template=ancient(workflow.source_path("../templates/batch.csv")),
    output:
        table=BATCH,
    log:
        f"{RESULTS}/logs/{{dataset}}/list_slides_{{batch}}.log",
    params:
        batch=batch_of_job,
    message:
        "Listing slides: {wildcards.dataset}, batch {wildcards.batch}"
    template_engine:
        "jinja2"
