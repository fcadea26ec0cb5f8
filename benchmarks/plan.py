"""CPU time and memory of Snakemake's planning at scale: what `snakemake -n` takes before the first job, and a run with nothing to do.

    python benchmarks/plan.py                       # 3 data sets x 5,000 slides x 10 folds x 6 models
    python benchmarks/plan.py --slides 1000

The slides are empty files: planning never reads them. For the run with nothing to do every output is made, slide tables as a
run would write them, with what else planning reads, and the rest as empty files, and recorded as up to date (`snakemake --touch`); no job runs.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from safetensors.numpy import save

from roformermil.bags.split import describe_split
from roformermil.cohort.batches import divide_into_batches
from roformermil.cohort.outdated import embed_digest, segment_digest, tile_digest
from roformermil.cohort.slide_files import content_id, file_state
from roformermil.cohort.slide_sheet import Slide, read_slide_sheet
from roformermil.cohort.slide_table import records_from_sheet
from roformermil.config import load_config
from roformermil.config.base import to_json
from roformermil.evaluation.fold_results import MODEL_FILE
from roformermil.runtime import stage_versions
from roformermil.runtime.provenance import write_provenance
from roformermil.runtime.records import write_records
from roformermil.runtime.text import markdown_table

ROOT = Path(__file__).resolve().parent.parent
MODELS = ["abmil", "ro-abmil", "dsmil", "ro-dsmil", "gated-abmil", "mean"]
REPORT_USE = """import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss, file=sys.stderr)
sys.exit(code)"""


def write_data_sets(folder: Path, count: int, slides: int, batch: int, folds: int) -> None:
    """Write slide sheets, empty slide files and `config.json`."""
    config = {
        "datasets": {},
        "models": MODELS,
        "slides_per_batch": batch,
        "folds": {"count": folds},
        "results": "results",
    }
    for name in (f"set_{k}" for k in range(count)):
        root = folder / f"slides_{name}"
        root.mkdir()
        lines = ["slide_id,patient_id,label,path"]
        for s in range(slides):
            (root / f"s{s}.svs").touch()
            lines.append(f"s{s},p{s // 2},{'ab'[s // 2 % 2]},s{s}.svs")
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
        config["datasets"][name] = {"slides": str(folder / f"{name}.csv"), "root": str(root), "classes": ["a", "b"]}
    (folder / "config.json").write_text(json.dumps(config))


def snakemake(folder: Path, *arguments: str) -> tuple[str, float, float]:
    """Output, CPU seconds and peak memory (GB) of one call."""
    command = [
        sys.executable,
        "-c",
        REPORT_USE,
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        str(ROOT / "Snakefile"),
    ]
    command += ["--workflow-profile", "none"]  # plain text
    command += ["--directory", str(folder), "--cores", "2", *arguments, "--configfile", str(folder / "config.json")]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stdout[-3000:] + done.stderr[-3000:])
    *text, used = done.stderr.strip().splitlines()
    seconds, peak = map(float, used.split())
    return done.stdout + "\n".join(text), seconds, peak / 1e6


def make_outputs(folder: Path) -> None:
    """Make every output of the workflow: what planning reads as a run would write it, and empty files and folders."""
    summary, _, _ = snakemake(folder, "--summary")
    config = load_config(folder / "config.json")
    digests = {"tissue": segment_digest(config.tissue), "tiles": tile_digest(config.tiles)}
    digests[config.encoder.id] = embed_digest(config.encoder)
    listed = {name: read_slide_sheet(one.slides, one.root) for name, one in config.datasets.items()}
    batches = {name: divide_into_batches(slides, config.slides_per_batch) for name, slides in listed.items()}
    for line in filter(lambda line: line.startswith("results/"), summary.splitlines()):
        path = folder / line.split("\t")[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        name = path.relative_to(folder).parts[1]
        if path.parent.name == "batches":
            path.write_text(batches[name][path.stem].table())
        elif path.name.startswith("batch_"):
            slides = batches[name][path.stem.removeprefix("batch_")].slides
            write_table(path, slides, digests.get(path.parent.name, ""))
        elif path.name in ("slides.csv", "slides_tiled.csv"):
            write_table(path, listed[name])
        elif path.name == "folds.json":
            classes = config.datasets[name].classes
            path.write_text(json.dumps(describe_split(name, listed[name], classes, config.folds, config.leakage)))
        elif path.name == MODEL_FILE:
            model = next(model for model in config.models if model.id == path.parts[-3])
            settings = {
                "classes": json.dumps(config.datasets[name].classes),
                "train_version": str(stage_versions.TRAIN),
            }
            path.write_bytes(save({}, settings | {"model": to_json(model), "training": to_json(config.training)}))
        elif path.name == "provenance.json":
            write_provenance(path, config.model_dump_json())
        else:
            path.touch() if path.suffix else path.mkdir(exist_ok=True)


def write_table(path: Path, slides: Sequence[Slide], settings: str = "") -> None:
    content = content_id(slides[0].path)  # of an empty file, as all are
    records = records_from_sheet(slides)
    write_records(path, [replace(r, content=content, settings=settings, **file_state(r.path)) for r in records])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-sets", type=int, default=3)
    parser.add_argument("--slides", type=int, default=5000, help="per data set")
    parser.add_argument("--batch", type=int, default=25, help="slides per batch")
    parser.add_argument("--folds", type=int, default=10)
    options = parser.parse_args()
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_data_sets(folder, options.data_sets, options.slides, options.batch, options.folds)
        text, seconds, memory = snakemake(folder, "-n", "--quiet", "rules")
        jobs = next(line.split()[-1] for line in text.splitlines() if line.startswith("total"))
        rows = [("plan (`snakemake -n`)", jobs, f"{seconds:.1f}", f"{memory:.2f}")]
        make_outputs(folder)
        snakemake(folder, "--touch", "--quiet", "all")
        for name, arguments in (("nothing to do (`-n`)", ["-n"]), ("nothing to do (run)", [])):
            text, seconds, memory = snakemake(folder, *arguments)
            if "Nothing to be done" not in text:
                raise SystemExit(f"{name}: jobs were planned\n{text[-2000:]}")
            rows.append((name, "0", f"{seconds:.1f}", f"{memory:.2f}"))
    size = f"{options.data_sets} x {options.slides:,} slides, batches of {options.batch}, {options.folds} folds, {len(MODELS)} models"
    print(size, markdown_table(("", "jobs", "CPU seconds", "GB"), rows), sep="\n\n")


if __name__ == "__main__":
    main()
