"""Overlap of tissue masks on real slides: `background`, `hsv`, `otsu`, and tiatoolbox's `morphological` where it is installed.

    python benchmarks/tissue.py [FOLDER ...]
    python benchmarks/tissue.py --memory

Overlap is the intersection over union of two masks at 8 um/px. By default the slides are those of ../shared. --memory: what
`segment` takes in addition to the image, of drawn tissue on noisy glass.
"""

import multiprocessing
import resource
import sys
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

from roformermil.config import Tissue
from roformermil.runtime.text import markdown_table
from roformermil.slides.reader import SlideReader
from roformermil.slides.tissue import segment

SLIDES = ["../shared/slides/pathology_atlas", "../shared/slides/stains"]


def added_memory(size: tuple[int, int]) -> tuple[float, float]:
    """Megabytes of an image of this size, (h, w), and of finding its tissue, in a process with one OpenCV thread."""
    cv2.setNumThreads(1)
    image = np.empty((*size, 3), np.uint8)
    cv2.randn(image, (243,) * 3, (2,) * 3)
    middle = image[size[0] // 4 : -size[0] // 4, size[1] // 4 : -size[1] // 4]
    cv2.randn(middle, (205, 150, 190), (25, 25, 25))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    segment(image, Tissue())
    return image.nbytes / 1e6, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3


def print_memory() -> None:
    rows = []
    for width, height in ((25, 25), (25, 50), (25, 75)):  # mm
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            image, added = pool.apply(added_memory, ((height * 125, width * 125),))
        rows.append((f"{width} x {height} mm", f"{image:.0f}", f"{added:.0f}"))
    print(markdown_table(["slide", "image, MB", "in addition, MB"], rows))


def main() -> None:
    if sys.argv[1:] == ["--memory"]:
        return print_memory()
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
