"""Tissue masks against each other on real slides: `hsv`, `otsu`, and tiatoolbox's `morphological` where it is installed.

    .venv-tiatoolbox/bin/python benchmarks/tissue.py

Overlap is the intersection over the union of two masks at 8 um/px.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from roformermil.config import Tissue
from roformermil.slides.reader import SlideReader
from roformermil.slides.tissue import segment

SLIDES = Path("../shared/slides/pathology_atlas")


def main() -> None:
    if not SLIDES.exists():
        sys.exit(f"{SLIDES} is not there: this table needs the real slides")
    methods = ["hsv", "otsu"] + ["morphological"] * (find_spec("tiatoolbox") is not None)
    pairs = [(a, b) for k, a in enumerate(methods) for b in methods[k + 1 :]]
    print(
        "| slide | "
        + " | ".join(f"{m}, tissue" for m in methods)
        + " | "
        + " | ".join(f"{a} / {b}" for a, b in pairs)
        + " |"
    )
    print("|---" * (1 + len(methods) + len(pairs)) + "|")
    overlaps = []
    for path in sorted(SLIDES.glob("*.svs")):
        with SlideReader(path, 0.5) as slide:
            image = slide.overview(8.0)
        masks = {method: segment(image, Tissue(method=method)) for method in methods}
        overlaps.append([(masks[a] & masks[b]).sum() / max(1, (masks[a] | masks[b]).sum()) for a, b in pairs])
        cells = [f"{mask.mean():.2f}" for mask in masks.values()] + [f"{overlap:.2f}" for overlap in overlaps[-1]]
        print(f"| {path.stem} | " + " | ".join(cells) + " |")
    print("| median |" + " |" * len(methods) + " " + " | ".join(f"{x:.2f}" for x in np.median(overlaps, axis=0)) + " |")


if __name__ == "__main__":
    main()
