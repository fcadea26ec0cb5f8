"""tiatoolbox's extractor on the tiles that `embed.py` sends; run by that script, with tiatoolbox's Python."""

import json
import sys
import time

import numpy as np
import torch
from tiatoolbox.tools.patchextraction import PointsPatchExtractor
from tiatoolbox.wsicore.wsireader import WSIReader

from roformermil.config import Encoder
from roformermil.features.encoders import load_trunk

BATCH = 32


def main() -> None:
    work = json.load(sys.stdin)
    coords, side = np.array(work["coords"]), work["side"]
    slide = WSIReader.open(work["slide"])
    extractor = PointsPatchExtractor(
        slide, locations_list=coords + side // 2, patch_size=(side, side), resolution=0.5, units="mpp"
    )
    start = time.perf_counter()
    for _ in extractor:
        pass
    reading = len(coords) / (time.perf_counter() - start)
    trunk = load_trunk(Encoder(weights="random"))
    few = len(coords) // 4 // BATCH * BATCH or len(coords)
    start = time.perf_counter()
    batch = []
    for k, tile in enumerate(extractor, start=1):
        batch.append(tile)
        if len(batch) == BATCH or k == few:
            with torch.inference_mode():
                trunk(torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2).contiguous() / 255)
            batch = []
        if k == few:
            break
    both = few / (time.perf_counter() - start)
    print(
        json.dumps({"reading: tiatoolbox's extractor": reading, "reading and encoding: tiatoolbox's extractor": both})
    )


if __name__ == "__main__":
    main()
