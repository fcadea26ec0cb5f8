"""Overlap of tissue masks on real slides: `hsv`, `otsu`, and tiatoolbox's `morphological` where it is installed.

    .venv-tiatoolbox/bin/python benchmarks/tissue.py

Overlap is the intersection over union of two masks at 8 um/px.
"""

import sys
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path

import numpy as np

from roformermil.config import Tissue
from roformermil.runtime.text import markdown_table
from roformermil.slides.reader import SlideReader
from roformermil.slides.tissue import segment

SLIDES = Path("../shared/slides/pathology_atlas")


def main() -> None:
    if not SLIDES.exists():
        sys.exit(f"{SLIDES.absolute()}: no such folder; this table needs the real slides")
    methods = ["hsv", "otsu"] + ["morphological"] * (find_spec("tiatoolbox") is not None)
    pairs = list(combinations(methods, 2))
    rows, overlaps = [], []
    for path in sorted(SLIDES.glob("*.svs")):
        with SlideReader(path, 0.5) as slide:
            image = slide.overview(8.0)
        masks = {method: segment(image, Tissue(method=method)) for method in methods}
        overlaps.append([(masks[a] & masks[b]).sum() / max(1, (masks[a] | masks[b]).sum()) for a, b in pairs])
        rows.append([path.stem, *(f"{x:.2f}" for x in (*(mask.mean() for mask in masks.values()), *overlaps[-1]))])
    rows.append(["median", *([""] * len(methods)), *(f"{x:.2f}" for x in np.median(overlaps, axis=0))])
    print(markdown_table(["slide", *(f"{m}, tissue" for m in methods), *(f"{a} / {b}" for a, b in pairs)], rows))


if __name__ == "__main__":
    main()
