"""Does the RoFormer layer use where tiles lie? Bags of two classes contain the same tiles and differ only in their arrangement.

    python benchmarks/arrangement.py [--steps 400] [--seed 0]

A bag is 100 tiles scattered on a 14 x 14 grid: 10 of kind A, 10 of kind B, the rest background. In class 1 each A touches
a B (Chebyshev distance 1); in class 0 no A is within 3 of a B. Bags come in pairs with the same tiles, one of each
class. Tiles are feature vectors of real lung images (A adenocarcinoma, B squamous cell carcinoma, background benign;
training and test use different ones), or Gaussian vectors where those are absent. Prints test AUROC, also with the test
grid moved by 40, which makes no difference to a relative encoding.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from roformermil.evaluation.metrics import auroc
from roformermil.models import MILModel, build_model
from roformermil.models.build import mil_loss
from roformermil.runtime.progress import track
from roformermil.runtime.text import markdown_table

LUNG_FEATURES = Path("../shared/patches/lc25000_lung_224/resnet50_layer3_features.npz")
KINDS = ("lung_aca", "lung_scc", "lung_n")  # A, B, background
GRID, TILES, TILES_PER_KIND, APART = 14, 100, 10, 3
CELLS = np.stack(np.divmod(np.arange(GRID**2), GRID), axis=1)
DISTANCE = np.abs(CELLS[:, None] - CELLS).max(axis=2)  # Chebyshev, between any two cells
SIZE = {"hidden_dim": 128, "attention_dim": 64, "num_heads": 4}
VARIANTS = {
    "ro-abmil, rope pixel": {"name": "ro-abmil"},
    "ro-dsmil, rope pixel": {"name": "ro-dsmil"},
    "ro-abmil, rope lang": {"name": "ro-abmil", "rope_frequencies": "lang"},
    "ro-abmil, alibi": {"name": "ro-abmil", "position": "alibi"},
    "ro-abmil, sine": {"name": "ro-abmil", "position": "sine"},
    "abmil": {"name": "abmil"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=400, help="with fewer than 200 some models do not learn")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.steps < 1:
        parser.error("--steps: at least 1")
    pools, source = tile_pools(np.random.default_rng(options.seed))
    print(f"Tiles: {source}. {options.steps} steps of 32 bags, {torch.get_num_threads()} threads.\n")
    rows = []
    for name, settings in track(VARIANTS.items(), desc="train", unit="model"):
        start = time.perf_counter()
        torch.manual_seed(options.seed)
        model = build_model({**SIZE, **settings}, in_dim=pools["train"][0].shape[1], n_classes=2)
        loss = fit(model, batches(pools["train"], options.seed + 1, 32), options.steps)
        here, moved = (test(model, pools["test"], options.seed + 2, shift) for shift in (0, 40))
        rows.append((name, f"{loss:.2f}", f"{here:.3f}", f"{moved:.3f}", f"{time.perf_counter() - start:.0f}"))
    print(markdown_table(("model", "train loss (0.69: not trained)", "test AUROC", "moved by 40", "seconds"), rows))


def tile_pools(rng: np.random.Generator) -> tuple[dict[str, list[np.ndarray]], str]:
    """Vectors of each kind, (n, d) float32, for `train` and `test`, standardised by those of `train`; and their source."""
    if LUNG_FEATURES.exists():
        stored = np.load(LUNG_FEATURES)
        kinds = [rng.permutation(stored["features"][stored["label"] == kind].astype(np.float32)) for kind in KINDS]
        source = "real lung images"
    else:
        kinds = [rng.normal(centre, 1, (160, 64)).astype(np.float32) for centre in rng.normal(0, 0.5, (3, 64))]
        source = "Gaussian vectors"
    train, test = [kind[: len(kind) // 2] for kind in kinds], [kind[len(kind) // 2 :] for kind in kinds]
    together = np.concatenate(train)
    mean, std = together.mean(axis=0), together.std(axis=0) + 1e-6
    return {name: [(k - mean) / std for k in pool] for name, pool in (("train", train), ("test", test))}, source


def batches(pool: list[np.ndarray], seed: int, size: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Random batches without end: pairs of bags with the same tiles, one of each class.

    features (size * TILES, d), grid (size * TILES, 2), labels (size,).
    """
    rng = np.random.default_rng(seed)
    counts = (TILES_PER_KIND, TILES_PER_KIND, TILES - 2 * TILES_PER_KIND)
    while True:
        pairs = [
            [pool[kind][rng.integers(0, len(pool[kind]), n)] for kind, n in enumerate(counts)] for _ in range(size // 2)
        ]
        tiles = np.concatenate([vectors for pair in pairs for vectors in (*pair, *pair)])
        grids = np.concatenate([draw_positions(rng, touching) for _ in pairs for touching in (False, True)])
        yield torch.from_numpy(tiles), torch.from_numpy(grids), torch.tensor([0, 1] * len(pairs))


def draw_positions(rng: np.random.Generator, touching: bool) -> np.ndarray:
    """Positions (TILES, 2) of a bag: first the As, then the Bs, then the background."""
    while True:  # until there is room for all As and Bs
        free, near_a, near_b = np.ones(GRID**2, bool), np.zeros(GRID**2, bool), np.zeros(GRID**2, bool)
        a: list[int] = []
        b: list[int] = []
        while len(b) < TILES_PER_KIND:
            allowed = np.flatnonzero(free if touching else free & ~near_b)
            if not len(allowed):
                break
            a.append(rng.choice(allowed))
            free[a[-1]] = False
            near_a |= DISTANCE[a[-1]] <= APART
            allowed = np.flatnonzero(free & (DISTANCE[a[-1]] == 1) if touching else free & ~near_a)
            if not len(allowed):
                break
            b.append(rng.choice(allowed))
            free[b[-1]] = False
            near_b |= DISTANCE[b[-1]] <= APART
        if len(b) == TILES_PER_KIND:
            rest = rng.choice(np.flatnonzero(free), TILES - 2 * TILES_PER_KIND, replace=False)
            return CELLS[np.concatenate([a, b, rest])]


def fit(model: MILModel, data: Iterator[tuple[Tensor, Tensor, Tensor]], steps: int) -> float:
    """Train; returns the mean loss of the last tenth of the steps."""
    losses = []
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-4)
    model.train()
    for _ in range(steps):
        features, grid, labels = next(data)
        lengths = [TILES] * len(labels)
        loss = mil_loss(model(features, grid, lengths), labels, lengths)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return float(np.mean(losses[-max(1, steps // 10) :]))


@torch.no_grad()
def test(model: MILModel, pool: list[np.ndarray], seed: int, shift: int) -> float:
    """AUROC on 512 bags of tiles that were not trained on, their grid moved by `shift`."""
    model.eval()
    features, grid, labels = next(batches(pool, seed, 512))
    out = model(features, grid + shift, [TILES] * len(labels))
    return auroc(labels.numpy(), out.logits.softmax(-1).numpy())


if __name__ == "__main__":
    main()
