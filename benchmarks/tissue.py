"""Overlap of tissue masks on real slides: `background`, `hsv`, `otsu`, and tiatoolbox's `morphological` where it is installed.

    python benchmarks/tissue.py [FOLDER ...]

Overlap is the intersection over union of two masks at 8 um/px. By default the slides are those of ../shared.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from roformermil.config import Tissue
from roformermil.runtime.text import markdown_table
from roformermil.slides.reader import SlideReader
from roformermil.slides.tissue import segment

SLIDES = ["../shared/slides/pathology_atlas", "../shared/slides/stains"]


def main() -> None:
    paths = [
        path for folder in sys.argv[1:] or SLIDES for path in sorted(Path(folder).glob("*.*")) if path.suffix != ".json"
    ]
    if not paths:
        sys.exit("no slides; give the folders of some")
    methods = ["background", "hsv", "otsu"] + ["morphological"] * (find_spec("tiatoolbox") is not None)
    pairs = [("background", method) for method in methods[1:]]
    rows, overlaps = [], []
    for path in paths:
        with SlideReader(path, 0.5) as slide:
            image = slide.overview(8.0)
        masks = {method: segment(image, Tissue(method=method)) for method in methods}
        overlaps.append([(masks[a] & masks[b]).sum() / max(1, (masks[a] | masks[b]).sum()) for a, b in pairs])
        rows.append([path.stem, *(f"{x:.2f}" for x in (*(mask.mean() for mask in masks.values()), *overlaps[-1]))])
    rows.append(["median", *([""] * len(methods)), *(f"{x:.2f}" for x in np.median(overlaps, axis=0))])
    print(markdown_table(["slide", *(f"{m}, tissue" for m in methods), *(f"{a} / {b}" for a, b in pairs)], rows))


if __name__ == "__main__":
    main()
