"""Time and memory of Snakemake's planning at scale: what `snakemake -n` takes before the first job, and a run with nothing to do.

    python benchmarks/plan.py                       # 3 data sets x 5,000 slides x 10 folds x 6 models
    python benchmarks/plan.py --slides 1000

The slides are empty files: planning never reads them. For the run with nothing to do every output is made as an empty file
and recorded as up to date (`snakemake --touch`); no job runs.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEATMAPS = "ro-abmil"  # the model that gets them by default
MODELS = ["abmil", "ro-abmil", "dsmil", "ro-dsmil", "gated-abmil", "mean"]
PEAK = """import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(code)"""


def write_data_sets(folder: Path, data_sets: dict[str, tuple[int, list[str]]], batch: int, extra: dict) -> Path:
    """Sheets, empty slide files and a configuration; returns the configuration. data_sets: slides and classes by name."""
    config = {"datasets": {}, "models": MODELS, "slides_per_batch": batch, "results": "results", **extra}
    for name, (slides, classes) in data_sets.items():
        root = folder / f"slides_{name}"
        root.mkdir()
        lines = ["slide_id,patient_id,label,path"]
        for s in range(slides):
            (root / f"s{s}.svs").touch()
            lines.append(f"s{s},p{s // 2},{classes[s // 2 % len(classes)]},s{s}.svs")
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
        config["datasets"][name] = {"slides": str(folder / f"{name}.csv"), "root": str(root), "classes": classes}
    (folder / "config.json").write_text(json.dumps(config))
    return folder / "config.json"


def snakemake(folder: Path, *arguments: str) -> tuple[str, float, float]:
    """Output, seconds and peak memory (GB) of one call."""
    command = [sys.executable, "-c", PEAK, sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    command += ["--workflow-profile", "none"]  # plain text
    command += ["--directory", str(folder), "--cores", "2", *arguments, "--configfile", str(folder / "config.json")]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(done.stdout[-3000:] + done.stderr[-3000:])
    *text, peak = done.stderr.strip().splitlines()
    return done.stdout + "\n".join(text), seconds, int(peak) / 1e6


def make_outputs(results: Path, data_sets: dict[str, tuple[int, list[str]]], batch: int, folds: int) -> None:
    """Every declared output that is not there, as an empty file."""
    names = [
        "metrics.csv",
        "summary.csv",
        "summary.md",
        "provenance.json",
        "overview.html",
        "tables.html",
        "comparisons.png",
    ]
    names += [f"{name}.csv" for name in ("cautions", "classes", "calibration", "confusion", "comparisons")]
    for name, (slides, _) in data_sets.items():
        names += [f"{name}/{table}" for table in ("slides.csv", "folds.csv", "leakage.csv", "tissue.jpg", "tissue.html")]
        names += [f"{name}/figures/{figure}.png" for figure in ("curves", "calibration", "confusion", "history")]
        for b in range(-(-slides // batch)):
            names += [f"{name}/{stage}/batch_{b}.csv" for stage in ("tissue", "tiles", "features/resnet50-imagenet")]
            names.append(f"{name}/resnet50-imagenet/{HEATMAPS}/heatmaps/batch_{b}.csv")
        (results / f"{name}/resnet50-imagenet/{HEATMAPS}/heatmaps/gallery").mkdir(parents=True, exist_ok=True)
        for model in MODELS:
            (results / f"{name}/resnet50-imagenet/{model}/model").mkdir(parents=True, exist_ok=True)
            for fold in range(folds):
                here = f"{name}/resnet50-imagenet/{model}/fold_{fold}"
                names += [f"{here}/{file}" for file in ("model.safetensors", "history.csv", "predictions.csv")]
    for name in names:
        path = results / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-sets", type=int, default=3)
    parser.add_argument("--slides", type=int, default=5000, help="a data set")
    parser.add_argument("--batch", type=int, default=25, help="slides a batch")
    parser.add_argument("--folds", type=int, default=10)
    options = parser.parse_args()
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        extra = {"folds": {"count": options.folds}}
        data_sets = {f"set_{k}": (options.slides, ["a", "b"]) for k in range(options.data_sets)}
        write_data_sets(folder, data_sets, options.batch, extra)
        rows = []
        text, seconds, memory = snakemake(folder, "-n", "--quiet", "rules")
        jobs = next(line.split()[-1] for line in text.splitlines() if line.startswith("total"))
        rows.append(("plan (-n)", jobs, seconds, memory))
        make_outputs(folder / "results", data_sets, options.batch, options.folds)
        snakemake(folder, "--touch", "--quiet", "all")
        for what, arguments in (("nothing to do (-n)", ["-n"]), ("nothing to do (run)", [])):
            text, seconds, memory = snakemake(folder, *arguments)
            if "Nothing to be done" not in text:
                raise SystemExit(f"{what}: jobs were planned\n{text[-2000:]}")
            rows.append((what, "0", seconds, memory))
    print(
        f"{options.data_sets} x {options.slides:,} slides, batches of {options.batch}, {options.folds} folds, 6 models\n"
    )
    print(f"| {'':20} | {'jobs':>6} | {'seconds':>8} | {'GB':>5} |\n|---|--:|--:|--:|")
    for what, jobs, seconds, memory in rows:
        print(f"| {what:20} | {jobs:>6} | {seconds:8.1f} | {memory:5.2f} |")


if __name__ == "__main__":
    main()
