"""The overhead of a job: start-up time against the total for 40 small slides, and memory against slide size.

    python benchmarks/embed_job.py [--slides 40]

Runs the command line on slides cut from `CMU-1-left-half-20x.svs`: 4096 px wide, whole, and 40 of the small ones, with the
default settings and random weights. Peak memory is that of the job's largest process.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from roformermil.cohort.slide_table import read_slide_table
from roformermil.cohort.synthetic import write_pyramid
from roformermil.runtime.text import markdown_table
from roformermil.slides.reader import SlideReader

LARGE = Path("../shared/slides/CMU-1-left-half-20x.svs").resolve()
SIDE = 4096
POLL_SECONDS = 0.02  # between two measurements of memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slides", type=int, default=40)
    options = parser.parse_args()
    if not LARGE.exists():
        sys.exit(f"{LARGE} does not exist: this benchmark needs the real slide")
    with tempfile.TemporaryDirectory() as folder:
        mini = Path(folder) / "mini.tif"
        with SlideReader(LARGE) as slide:
            write_pyramid(mini, slide.read(slide.size[0] // 3, slide.size[1] // 3, SIDE, SIDE))
        copies = [Path(folder) / f"copy_{k}.tif" for k in range(options.slides)]
        for copy in copies:
            copy.write_bytes(mini.read_bytes())
        for name, slides in (("4096 x 4096", [mini]), ("20000 x 19000", [LARGE]), (f"{len(copies)} small", copies)):
            if slides:
                run(name, slides, Path(folder) / name)


def run(name: str, slides: list[Path], out: Path) -> None:
    """Print a table of the three verbs on these slides, and embed's own profile."""
    out.mkdir()
    lines = ["slide_id,patient_id,label,path", *(f"{path.stem},{path.stem},x,{path}" for path in slides)]
    (out / "slides.csv").write_text("\n".join(lines) + "\n")
    verbs = {
        "segment": ["--sheet", out / "slides.csv", "--allow-absolute", "--out", out / "masks"],
        "tile": [out / "segment.csv", "--masks", out / "masks", "--out", out / "tiles"],
        "embed": [
            out / "tile.csv",
            "--tiles",
            out / "tiles",
            "--encoder",
            "{weights: random}",
            "--out",
            out,
            "--profile",
        ],
    }
    rows = []
    for verb, arguments in verbs.items():
        table = out / f"{verb}.csv"
        command = [sys.executable, "-m", "roformermil", verb, *map(str, arguments), "--table", str(table)]
        start = time.perf_counter()
        output, peak = run_and_measure(command)
        seconds = time.perf_counter() - start
        rows.append(
            (verb, sum(record.tiles or 0 for record in read_slide_table(table)), f"{seconds:.1f}", f"{peak:.2f}")
        )
    print(f"\n{markdown_table((name, 'tiles', 'seconds', 'peak memory, GB'), rows)}\n\n{output}", flush=True)


def run_and_measure(command: list[str]) -> tuple[str, float]:
    """The command's output, and the peak memory in GB of the largest process of its session, including readers."""
    job = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    peak = 0
    while job.poll() is None:
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if os.getsid(int(process.name)) == job.pid:
                    lines = (process / "status").read_text().splitlines()
                    peak = max(peak, *(int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)
            except OSError:
                pass  # it ended in the meantime
        time.sleep(POLL_SECONDS)
    if job.returncode:
        sys.exit(f"{' '.join(command)} failed with exit status {job.returncode}")
    assert job.stdout is not None
    return job.stdout.read(), peak * 1024 / 1e9


if __name__ == "__main__":
    main()
