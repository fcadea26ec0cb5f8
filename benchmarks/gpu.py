"""Proves and measures on this machine's GPU all that this package promises for one: the first thing to run on a new machine.

    python benchmarks/gpu.py [--minutes 8] [--out FOLDER] [--parts NAME ...]

Each part runs in a process of its own, so that one that fails, hangs or breaks CUDA costs no other. What it has is written at
once: FOLDER/gpu.md (tables), FOLDER/gpu.json (the same), FOLDER/NAME.log (its messages). The exit status is 1 where a check
failed or a goal was missed. Without a GPU sizes are small: this shows that the parts run.

A machine without a network that has PyTorch, but not all that this package imports: `make gpu-wheels` says what to carry there.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import gpu_checks
import gpu_speeds
from gpu_setup import GPU, SMALL, Rows, Sizes

from roformermil.runtime.files import write_text
from roformermil.runtime.text import markdown_table

ROOT = Path(__file__).resolve().parents[1]
LEAST = 15.0  # seconds that a part is begun with
MINUTES = 8.0


class Part(NamedTuple):
    run: Callable[[Sizes, Path], Rows]  # from a folder for files: rows as they are measured
    seconds: float  # at most, of MINUTES
    title: str


PARTS = {  # in this order: what is right comes before what is fast
    "versions": Part(gpu_checks.versions, 40, "The machine and its software"),
    "repeat": Part(gpu_checks.repeat, 100, "Training twice, and killed and resumed: the same bytes"),
    "sync": Part(gpu_checks.sync, 45, "A training step does not wait for the GPU"),
    "precision": Part(
        gpu_checks.precision, 45, "Against fp32 on the CPU: probabilities, and gradients relative to their norm"
    ),
    "memory": Part(gpu_checks.memory, 45, "Out of memory is named, and training goes on after it"),
    "step": Part(gpu_speeds.step, 80, "A training step of ro-abmil in bf16"),
    "epoch": Part(gpu_speeds.epoch, 70, "An epoch of ro-abmil"),
    "encoder": Part(gpu_speeds.encoder, 60, "The encoder: speed and error of its features relative to fp32 on the CPU"),
    "embed": Part(gpu_speeds.embed, 80, "`embed` on a made slide, against what limits it"),
    "tests": Part(gpu_checks.tests, 120, "Tests of the package on this machine"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=MINUTES, help="for all parts; what does not fit is skipped")
    parser.add_argument("--out", type=Path, default=Path("gpu-benchmark"), help="folder for the results")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), metavar="NAME", help=", ".join(PARTS))
    parser.add_argument("--part", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:  # the separate process
        run_part(options.part, options.out)
        return
    results = measure(options.parts, options.minutes, options.out)
    print(
        f"\n{(options.out / 'gpu.md').read_text()}\nIn {options.out.absolute()}: gpu.md, gpu.json and a log for each part"
    )
    sys.exit(any(result["status"] != "ok" for result in results.values()))


def measure(names: list[str], minutes: float, out: Path) -> dict[str, dict[str, Any]]:
    """The result of each part, written to `out` as they come."""
    out.mkdir(parents=True, exist_ok=True)
    start, results = time.perf_counter(), dict[str, dict[str, Any]]()
    for name in names:
        left = 60 * minutes - (time.perf_counter() - start)
        results[name] = run_apart(name, min(left, PARTS[name].seconds * minutes / MINUTES), out)
        print(f"{name}: {results[name]['status']}, {results[name]['seconds']:.0f} s", flush=True)
        write_text(out / "gpu.json", json.dumps(results, indent=1) + "\n")
        write_text(out / "gpu.md", "\n\n".join(describe(*item) for item in results.items()) + "\n")
    return results


def run_apart(name: str, seconds: float, out: Path) -> dict[str, Any]:
    """The status, seconds and rows of a part run in a process that may take so many seconds."""
    (rows := out / f"{name}.jsonl").unlink(missing_ok=True)
    if seconds < LEAST:
        return {"status": "skipped: no time left", "seconds": 0.0, "rows": []}
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    command = [sys.executable, __file__, "--part", name, "--out", str(out)]
    start, status = time.perf_counter(), "ok"
    with (out / f"{name}.log").open("w") as log:
        try:
            environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
            done = subprocess.run(command, stdout=log, stderr=log, timeout=seconds, env=environment, check=False)
            if done.returncode:
                status = f"ended with {done.returncode}: {last_line(out / f'{name}.log')}"
        except subprocess.TimeoutExpired:
            status = f"ended after {seconds:.0f} s, incomplete"
    measured = [json.loads(line) for line in rows.read_text().splitlines()] if rows.exists() else []
    if status == "ok" and any(value is False or key == "error" for row in measured for key, value in row.items()):
        status = "not as it should be"
    return {"status": status, "seconds": time.perf_counter() - start, "rows": measured}


def run_part(name: str, out: Path) -> None:
    """Run a part in this process, and write each row when it is there."""
    import tempfile

    import torch

    sizes = GPU if torch.cuda.is_available() else SMALL
    with tempfile.TemporaryDirectory() as folder, (out / f"{name}.jsonl").open("w") as file:
        for row in PARTS[name].run(sizes, Path(folder)):
            file.write(json.dumps(row) + "\n")
            file.flush()


def last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "no message")


def describe(name: str, result: dict[str, Any]) -> str:
    """A part's result as a section in Markdown."""
    columns = list(dict.fromkeys(key for row in result["rows"] for key in row))
    rows = [[cell(row.get(column, "")) for column in columns] for row in result["rows"]]
    table = [markdown_table(columns, rows)] if rows else []
    return "\n\n".join([f"## {PARTS[name].title} (`{name}`)", f"{result['status']}, {result['seconds']:.0f} s", *table])


def cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "**no**"
    return f"{value:.3g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    main()
