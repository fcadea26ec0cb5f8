# What people look at: plots, heat maps and the report, from the tables.


rule report_files:
    input:
        f"{RESULTS}/report.html",


rule plots:
    input:
        predictions=expand(f"{FOLD}/predictions.csv", model=MODEL_IDS, fold=RUNS, allow_missing=True),
        shuffled=expand(f"{FOLD}/shuffled.csv", model=MODEL_IDS, fold=RUNS, allow_missing=True),
        histories=expand(f"{FOLD}/history.csv", model=MODEL_IDS, fold=RUNS, allow_missing=True),
        models=expand(f"{FOLD}/model.safetensors", model=MODEL_IDS, fold=RUNS, allow_missing=True),
    output:
        of_task=expand(f"{DATASET}/plots/{{plot}}.png", plot=TASK.plots, allow_missing=True),
        history=f"{DATASET}/plots/history.png",
    log:
        f"{RESULTS}/logs/{{dataset}}/plots.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{dataset}}/plots.tsv"
    wildcard_constraints:
        dataset=one_of(TRAINED),
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=times_attempt(4000),
        runtime=minutes_times_attempt(20),
    params:
        version=stage_versions.source_digest("report/plots/dataset"),
        out=subpath(output.history, parent=True),
    message:
        "Drawing plots: {wildcards.dataset}"
    shell:
        command_line("plots {input.predictions:q} --out {params.out:q}")


rule heatmap:
    input:
        again=made_again(f"{MODEL}/heatmaps/batch_{{batch}}.csv", slides_changed("heatmap")),
        table=f"{FEATURES}/batch_{{batch}}.csv",
        folds=f"{DATASET}/folds.csv",
        models=fold_models,
        # its AUROC is of the models above: a package that was only written again, as by another version, changes no picture
        card=ancient(of_trained_dataset(f"{MODEL}/model")),
    output:
        table=f"{MODEL}/heatmaps/batch_{{batch}}.csv",
    log:
        f"{RESULTS}/logs/{{dataset}}/{ENCODER}/{{model}}/heatmap_{{batch}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{dataset}}/{ENCODER}/{{model}}/heatmap_{{batch}}.tsv"
    conda:
        FEATURES_ENV
    resources:
        mem_mb=reading_memory("heatmap", lambda threads: 8000),
        runtime=minutes(20, per_slide=2),
        timeout=str(CONFIG.slide_timeout),
    params:
        version=stage_versions.source_digest("report/heatmaps/out_of_fold"),
        models=of_trained_dataset(MODEL),
        classes=classes_of_dataset,
        features=subpath(input.table, parent=True),
        out=subpath(output.table, parent=True),
        ensemble=lambda wildcards: "--ensemble" if wildcards.dataset in EXTERNAL else "",
        smooth="--smooth" if CONFIG.heatmaps.smooth else "",
    message:
        "Drawing heat maps: {wildcards.dataset}, {wildcards.model}, batch {wildcards.batch}"
    shell:
        command_line(
            "heatmap {input.table:q} --folds {input.folds:q} --models {params.models:q}"
            " --features {params.features:q} --classes {params.classes:q} --out {params.out:q} --table {output.table:q}"
            " --card {input.card:q} {params.ensemble} {params.smooth} --timeout {resources.timeout}"
            " --threads {threads} --memory {resources.mem_mb}"
        )


rule gallery:
    input:
        predictions=expand(f"{FOLD}/predictions.csv", fold=FOLDS, allow_missing=True),
        shuffled=expand(f"{FOLD}/shuffled.csv", fold=FOLDS, allow_missing=True),
        heatmaps=all_batches(f"{MODEL}/heatmaps/batch_{{batch}}.csv"),
    output:
        panels=directory(f"{MODEL}/heatmaps/gallery"),
    log:
        f"{RESULTS}/logs/{{dataset}}/{ENCODER}/{{model}}/gallery.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{dataset}}/{ENCODER}/{{model}}/gallery.tsv"
    localrule: True
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=times_attempt(2000),
        runtime=minutes_times_attempt(10),
    params:
        version=stage_versions.source_digest("report/heatmaps/gallery"),
        heatmaps=subpath(output.panels, parent=True),
        per_class=CONFIG.heatmaps.in_report,
    message:
        "Choosing heat maps: {wildcards.dataset}, {wildcards.model}"
    shell:
        command_line(
            "gallery {input.predictions:q} --heatmaps {params.heatmaps:q} --out {output.panels:q}"
            " --per-class {params.per_class}"
        )


rule pages:
    input:
        tables=expand(
            f"{RESULTS}/{{table}}",
            table=(
                "summary.csv",
                "cautions.csv",
                "classes.csv",
                "comparisons.csv",
                "calibration.csv",
                "external.csv",
                "patients.csv",
                "provenance.json",
                "decisions.csv",
                *(f"{table}.csv" for table in (*FURTHER_DECISION_TABLES, *TASK.tables)),
            ),
        ),
        slides=expand(f"{DATASET}/slides.csv", dataset=CONFIG.datasets),
        folds=expand(f"{DATASET}/folds.csv", dataset=CONFIG.datasets),
        leakage=expand(f"{DATASET}/leakage.csv", dataset=CONFIG.datasets),
        plots=expand(
            f"{DATASET}/plots/{{plot}}.png",
            dataset=TRAINED,
            plot=(*TASK.plots, "history"),
        ),
        shift=expand(f"{DATASET}/{ENCODER}/shift.csv", dataset=EXTERNAL),
        external_plots=expand(f"{DATASET}/plots", dataset=EXTERNAL),
        heatmaps=expand(f"{MODEL}/heatmaps/gallery", dataset=CONFIG.datasets, model=CONFIG.heatmap_models),
        outlines=CONTACT_SHEETS,
    output:
        page=f"{RESULTS}/report.html",  # not in Snakemake's: browsers show no page above 2 MB inside another
        comparisons=f"{RESULTS}/comparisons.png",
        of_task=expand(f"{DATASET}/plots/{{plot}}.png", dataset=TRAINED, plot=TASK.page_plots),
    log:
        f"{RESULTS}/logs/pages.log",
    benchmark:
        f"{RESULTS}/benchmarks/pages.tsv"
    localrule: True
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=times_attempt(2000),
        runtime=minutes_times_attempt(10),
    params:
        version=stage_versions.source_digest("report/pages/__init__"),
        datasets=",".join(CONFIG.datasets),
        results=subpath(output.page, parent=True),
    message:
        "Writing the report"
    shell:
        command_line("pages {params.results:q} --datasets {params.datasets}")
