# Models that another lab can use.


rule deployment:
    input:
        expand(f"{MODEL}/model", dataset=TRAINED, model=MODEL_IDS),


rule package:
    input:
        predictions=expand(f"{FOLD}/predictions.csv", fold=RUNS, allow_missing=True),
        shuffled=expand(f"{FOLD}/shuffled.csv", fold=RUNS, allow_missing=True),
        histories=expand(f"{FOLD}/history.csv", fold=RUNS, allow_missing=True),
        models=expand(f"{FOLD}/model.safetensors", fold=RUNS, allow_missing=True),
        slides=f"{DATASET}/slides.csv",
        reference=f"{DATASET}/{ENCODER}/reference.safetensors",
        leakage=f"{DATASET}/leakage.csv",
    output:
        folder=directory(f"{MODEL}/model"),
    log:
        f"{RESULTS}/logs/{{dataset}}/{ENCODER}/{{model}}/package.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{dataset}}/{ENCODER}/{{model}}/package.tsv"
    localrule: True
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=times_attempt(2000),
        runtime=minutes_times_attempt(10),
        settings=CONFIG.model_dump_json(include={"tissue", "tiles", "encoder"}),
    params:
        version=stage_versions.source_digest("deployment/export"),
        data=subpath(input.slides, parent=True),
        features=FEATURES,
        decisions=to_json(CONFIG.decisions),
        encoder=CONFIG.encoder.deciding_values(),  # tissue and tiles decide what comes before
    message:
        "Packaging: {wildcards.dataset}, {wildcards.model}"
    shell:
        command_line(
            "package {input.predictions:q} --data {params.data:q} --features {params.features:q}"
            " --reference {input.reference:q} --settings {resources.settings:q} --decisions {params.decisions:q}"
            " --out {output.folder:q}"
        )
