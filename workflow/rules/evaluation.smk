# Every published number, from the folds' predictions.

FURTHER_DECISION_TABLES = ("operating_points", "decision_curves", "abstention", "probabilities")


rule evaluation:
    input:
        expand(f"{RESULTS}/{{table}}", table=("metrics.csv", "summary.csv", "summary.md")),


rule evaluate:
    input:
        again=made_again(f"{RESULTS}/provenance.json", models_changed),
        predictions=expand(f"{FOLD}/predictions.csv", dataset=CONFIG.datasets, model=MODEL_IDS, fold=RUNS),
        shuffled=expand(f"{FOLD}/shuffled.csv", dataset=CONFIG.datasets, model=MODEL_IDS, fold=RUNS),
        histories=expand(f"{FOLD}/history.csv", dataset=TRAINED, model=MODEL_IDS, fold=RUNS),
        slides=expand(f"{DATASET}/slides.csv", dataset=CONFIG.datasets),
        leakage=expand(f"{DATASET}/leakage.csv", dataset=CONFIG.datasets),
        shifts=expand(f"{DATASET}/{ENCODER}/shift.csv", dataset=EXTERNAL),
    output:
        metrics=f"{RESULTS}/metrics.csv",
        summary=report(
            f"{RESULTS}/summary.csv",
            category="1 Tables",
            labels={"table": "summary.csv"},
            caption="../report/summary.rst",
        ),
        table=f"{RESULTS}/summary.md",
        cautions=f"{RESULTS}/cautions.csv",
        classes=report(
            f"{RESULTS}/classes.csv",
            category="1 Tables",
            labels={"table": "classes.csv"},
            caption="../report/classes.rst",
        ),
        calibration=f"{RESULTS}/calibration.csv",
        confusion=f"{RESULTS}/confusion.csv",
        external=f"{RESULTS}/external.csv",
        decisions=report(
            f"{RESULTS}/decisions.csv",
            category="1 Tables",
            labels={"table": "decisions.csv"},
            caption="../report/decisions.rst",
        ),
        further=expand(f"{RESULTS}/{{table}}.csv", table=(*FURTHER_DECISION_TABLES, *TASK.tables)),
        gains=COVARIATE_GAINS,
        patients=f"{RESULTS}/patients.csv",
        patient_predictions=f"{RESULTS}/patient_predictions.csv",
        comparisons=report(
            f"{RESULTS}/comparisons.csv",
            category="1 Tables",
            labels={"table": "comparisons.csv"},
            caption="../report/comparisons.rst",
        ),
        provenance=report(
            f"{RESULTS}/provenance.json",
            category="2 Provenance",
            labels={"file": "provenance.json"},
            caption="../report/provenance.rst",
        ),
    log:
        f"{RESULTS}/logs/evaluate.log",
    benchmark:
        f"{RESULTS}/benchmarks/evaluate.tsv"
    conda:
        "../../envs/evaluation.yaml"
    resources:
        mem_mb=times_attempt(4000),
        runtime=minutes_times_attempt(30),
        config=CONFIG.model_dump_json(),
    params:
        version=stage_versions.source_digest("evaluation/tables"),
        datasets=",".join(CONFIG.datasets),
        decisions=CONFIG.decisions.deciding_values(),
        out=subpath(output.table, parent=True),
    message:
        "Computing the tables"
    shell:
        command_line(
            "evaluate {input.predictions:q} --datasets {params.datasets} --out {params.out:q}"
            " --config {resources.config:q}"
        )
