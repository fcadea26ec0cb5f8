"""A laboratory: slides, a model trained on some of them, and its package."""

import numpy as np

from roformermil.cohort.slide_table import SlideRecord
from roformermil.cohort.synthetic import write_pyramid
from roformermil.config import Encoder, Model, Tiles, Tissue, Training
from roformermil.deployment.export import export_model
from roformermil.deployment.model_card import Preparation
from roformermil.features.embed import Embedder
from roformermil.slides.steps import segment_slides, tile_slides
from tests.factories import train_run
from tests.tissue_drawing import draw_tissue

TILES = Tiles(tile_px=64, target_mpp=1.0)
MODEL = Model(name="ro-abmil", hidden_dim=32, attention_dim=16, num_heads=2)
ENCODER = Encoder(weights="random", compile="never", batch_size=16)
CLASSES = ["inflamed", "excluded"]
DATA, STORES, RUN = "results/set", "results/set/features/resnet50-random", "results/set/resnet50-random/ro-abmil"


def make_lab(folder):
    """Fill a folder with a model trained on six small slides, its package, and three new slides."""
    rng = np.random.default_rng(0)
    (folder / "slides").mkdir()
    rows = [SlideRecord(f"s{k}", folder / f"slides/s{k}.tif") for k in range(9)]
    for row in rows:
        write_pyramid(row.path, draw_tissue(rng, 700, 600))
    data, stores = folder / DATA, folder / STORES
    rows = segment_slides(rows, data / "tissue", Tissue(), timeout=60, progress=False)
    rows = tile_slides(rows, data / "tissue", data / "tiles", TILES, timeout=60, progress=False)
    rows = Embedder(ENCODER, timeout=60, progress=False).embed(rows, data / "tiles", stores)
    predictions = train_run(data, stores.name, rows[:6], CLASSES, MODEL, Training(epochs=3, learning_rate=1e-3))
    export_model(predictions, data, stores, Preparation(tiles=TILES, encoder=ENCODER), folder / "model")
