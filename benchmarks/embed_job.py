"""What a job costs beside its tiles: start-up against the whole for 40 mini-slides, and memory as slides grow.

    python benchmarks/embed_job.py [--slides 40]

Runs the command line on slides cut from `CMU-1-left-half-20x.svs`: 4096 px wide, whole, and 40 of the small ones, with the
default settings and random weights. Peak memory is that of the largest process of the job.
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
from roformermil.slides.reader import SlideReader

LARGE = Path("../shared/slides/CMU-1-left-half-20x.svs").resolve()
SIDE = 4096
LOOK = 0.02  # seconds between two looks at the processes' memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slides", type=int, default=40)
    options = parser.parse_args()
    if not LARGE.exists():
        sys.exit(f"{LARGE} is not there: this benchmark needs the real slide")
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
    """The three verbs on some slides: a row each, and embed's own profile."""
    out.mkdir()
    lines = ["slide_id,patient_id,label,path", *(f"{path.stem},{path.stem},x,{path}" for path in slides)]
    (out / "slides.csv").write_text("\n".join(lines) + "\n")
    verbs = {
        "segment": ["--sheet", out / "slides.csv", "--allow-absolute", "--out", out / "t", "--status", out / "segment"],
        "tile": [out / "segment", "--masks", out / "t", "--out", out / "g", "--status", out / "tile"],
        "embed": [out / "tile", "--tables", out / "g", "--encoder", "{weights: random}", "--out", out / "f",
                  "--status", out / "embed", "--profile"],
    }  # fmt: skip
    print(f"\n| {name} | tiles | seconds | peak memory, GB |\n|---|---|---|---|")
    for verb, arguments in verbs.items():
        command = [sys.executable, "-m", "roformermil", verb, *map(str, arguments)]
        start = time.perf_counter()
        said, peak = watched(command)
        tiles = sum(row.tiles or 0 for row in read_slide_table(out / verb))
        print(f"| {verb} | {tiles} | {time.perf_counter() - start:.1f} | {peak:.2f} |", flush=True)
    print(f"\n{said}")


def watched(command: list[str]) -> tuple[str, float]:
    """What a command printed, and the peak memory in GB of the largest process of its session, readers included."""
    job = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    peak = 0
    while job.poll() is None:
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if os.getsid(int(process.name)) == job.pid:
                    status = (process / "status").read_text()
                    peak = max(
                        peak, *(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), 0
                    )
            except OSError:
                pass  # ended meanwhile
        time.sleep(LOOK)
    if job.returncode:
        sys.exit(f"{' '.join(command)} ended with {job.returncode}")
    assert job.stdout is not None
    return job.stdout.read(), peak * 1024 / 1e9


if __name__ == "__main__":
    main()
