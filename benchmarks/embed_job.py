"""What a job costs beside its tiles: start-up against the whole for 40 mini-slides, and memory as slides grow.

    python benchmarks/embed_job.py [--slides 40]

Runs the command line on slides cut from `CMU-1-left-half-20x.svs`: 4096 px wide, whole, and 40 of the small ones, with the
default settings and random weights. Peak memory is that of the largest process of the job.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from roformermil.demo import write_pyramid
from roformermil.slides.reader import SlideReader
from roformermil.status import read_status

LARGE = Path("../shared/slides/CMU-1-left-half-20x.svs").resolve()
SIDE = 4096


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slides", type=int, default=40)
    parser.add_argument("--measure", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        code = subprocess.run(options.measure).returncode
        print("PEAK", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6)
        sys.exit(code)
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
        result = subprocess.run(
            [sys.executable, __file__, "--measure", *command], check=True, stdout=subprocess.PIPE, text=True
        )
        said, peak = result.stdout.rsplit("PEAK", 1)
        tiles = sum(row.tiles or 0 for row in read_status(out / verb))
        print(f"| {verb} | {tiles} | {time.perf_counter() - start:.1f} | {float(peak):.2f} |", flush=True)
    print(f"\n{said}")


if __name__ == "__main__":
    main()
