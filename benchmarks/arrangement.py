"""Does the RoFormer layer use where tiles lie? Bags of two classes contain the same tiles and differ only in their arrangement.

    python benchmarks/arrangement.py [--steps 400] [--seed 0]
    python benchmarks/arrangement.py --bags 200 [--epochs 60] [--seeds 3]

A bag is 100 tiles scattered on a 14 x 14 grid: 10 of kind A, 10 of kind B, the rest background. In class 1 each A touches
a B (Chebyshev distance 1); in class 0 no A is within 3 of a B. Tiles are feature vectors of real lung images (A
adenocarcinoma, B squamous cell carcinoma, background benign; training and test use different ones), or Gaussian vectors
where those are absent.

Without --bags, training never sees a bag twice, and bags come in pairs with the same tiles, one of each class. With it,
training repeats a fixed set of bags, each of its own tiles, as in a cohort: these can be memorized instead.

Prints the AUROC of 512 test bags (pairs of the same tiles), also with their grid moved by 40, which makes no difference to a
relative encoding, and with their positions shuffled.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from roformermil.bags.augmentation import augment, shuffle_positions
from roformermil.models import MILModel, build_model
from roformermil.models.build import mil_loss
from roformermil.models.normalization import fit_normalization
from roformermil.runtime.progress import track
from roformermil.runtime.text import markdown_table
from roformermil.tasks import CLASSIFICATION

LUNG_FEATURES = Path("../shared/patches/lc25000_lung_224/resnet50_layer3_features.npz")
KINDS = ("lung_aca", "lung_scc", "lung_n")  # A, B, background
GRID, TILES, TILES_PER_KIND, APART = 14, 100, 10, 3
CELLS = np.stack(np.divmod(np.arange(GRID**2), GRID), axis=1)
DISTANCE = np.abs(CELLS[:, None] - CELLS).max(axis=2)  # Chebyshev, between any two cells
STREAM_BATCH, SET_BATCH, TEST_BAGS = 32, 4, 512
SIZE = {"hidden_dim": 128, "attention_dim": 64, "num_heads": 4}
Variant = tuple[dict[str, Any], str, str]  # settings of the model, `normalize`, `augment_grid`
PAPER = {"name": "ro-abmil", "rope_frequencies": "pixel", "rope_locality": 0.0}
LOCAL = {"name": "ro-abmil", "rope_frequencies": "learned", "rope_locality": 3.0}
STREAM_VARIANTS: dict[str, Variant] = {
    "ro-abmil, rope learned, locality 3": (LOCAL, "standardize", "none"),
    "ro-abmil, rope pixel": (PAPER, "standardize", "none"),
    "ro-dsmil, rope pixel": ({**PAPER, "name": "ro-dsmil"}, "standardize", "none"),
    "ro-abmil, rope lang": ({**PAPER, "rope_frequencies": "lang"}, "standardize", "none"),
    "ro-abmil, alibi": ({"name": "ro-abmil", "position": "alibi"}, "standardize", "none"),
    "ro-abmil, sine": ({"name": "ro-abmil", "position": "sine"}, "standardize", "none"),
    "abmil": ({"name": "abmil"}, "standardize", "none"),
}
SET_VARIANTS: dict[str, Variant] = {
    "rope pixel": (PAPER, "standardize", "none"),
    "rope pixel, augment_grid rotate": (PAPER, "standardize", "rotate"),
    "rope pixel, locality 3": ({**PAPER, "rope_locality": 3.0}, "standardize", "none"),
    "rope learned, locality 3": (LOCAL, "standardize", "none"),
    "rope learned, locality 3, augment_grid flip": (LOCAL, "standardize", "flip"),
    "rope learned, locality 3, normalize none": (LOCAL, "none", "none"),
    "alibi": ({"name": "ro-abmil", "position": "alibi"}, "standardize", "none"),
    "abmil": ({"name": "abmil"}, "standardize", "none"),
}
Batch = tuple[Tensor, Tensor, Tensor]  # features (B * TILES, F), grid (B * TILES, 2), labels (B,)
Pool = list[np.ndarray]  # the tiles of each kind, (n, F) float32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=400, help="with fewer than 200 some models do not learn")
    parser.add_argument("--bags", type=int, help="train on so many bags, again and again; an even number")
    parser.add_argument("--epochs", type=int, default=60, help="passes over the --bags")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds, from --seed")
    options = parser.parse_args()
    if min(options.steps, options.epochs, options.seeds) < 1:
        parser.error("--steps, --epochs, --seeds: at least 1")
    if options.bags is not None and (options.bags < 2 or options.bags % 2):
        parser.error("--bags: an even number, at least 2")
    variants = STREAM_VARIANTS if options.bags is None else SET_VARIANTS
    seeds = range(options.seed, options.seed + options.seeds)
    results: dict[str, list[tuple[float, ...]]] = {name: [] for name in variants}
    for name, seed in track([(name, seed) for name in variants for seed in seeds], desc="train", unit="model"):
        model_settings, normalize, augment_grid = variants[name]
        start = time.perf_counter()
        train, test, source = tile_pools(np.random.default_rng(seed))
        torch.manual_seed(seed)
        model = build_model({**SIZE, **model_settings}, in_dim=train[0].shape[1], n_classes=2)
        normalize_by(model, train, normalize)
        if options.bags is None:
            steps, data = options.steps, batches(train, seed + 1, STREAM_BATCH)
        else:
            steps = options.epochs * -(-options.bags // SET_BATCH)
            data = repeated(bag_set(train, seed + 1, options.bags), seed, augment_grid)
        loss = fit(model, data, steps)
        moves = (lambda grid: grid, lambda grid: grid + 40, shuffle_bags)
        scores = [test_auroc(model, test, seed + 2, move) for move in moves]
        results[name].append((loss, *scores, time.perf_counter() - start))
    trained_on = f"{options.steps} steps of {STREAM_BATCH} bags, each new"
    if options.bags is not None:
        trained_on = f"{options.epochs} epochs of {options.bags} bags, {SET_BATCH} per step"
    print(f"Tiles: {source}. {trained_on}. Seeds {seeds[0]} to {seeds[-1]}: mean (lowest to highest).\n")
    columns = ("model", "train loss (0.69: not trained)", "test AUROC", "moved by 40", "shuffled", "seconds")
    print(markdown_table(columns, [(name, *_cells(values)) for name, values in results.items()]))


def _cells(values: list[tuple[float, ...]]) -> list[str]:
    """Loss, three AUROCs and seconds of one variant's seeds, as text."""
    loss, *scores, seconds = zip(*values, strict=True)
    spread = [f"{np.mean(s):.3f}" + (f" ({min(s):.3f} to {max(s):.3f})" if len(s) > 1 else "") for s in scores]
    return [f"{np.mean(loss):.2f}", *spread, f"{np.mean(seconds):.0f}"]


def tile_pools(rng: np.random.Generator) -> tuple[Pool, Pool, str]:
    """The tiles to train on, those to test on, and their source."""
    if LUNG_FEATURES.exists():
        stored = np.load(LUNG_FEATURES)
        kinds = [rng.permutation(stored["features"][stored["label"] == kind].astype(np.float32)) for kind in KINDS]
        source = "real lung images"
    else:
        kinds = [rng.normal(centre, 1, (160, 64)).astype(np.float32) for centre in rng.normal(0, 0.5, (3, 64))]
        source = "Gaussian vectors"
    return [kind[: len(kind) // 2] for kind in kinds], [kind[len(kind) // 2 :] for kind in kinds], source


def normalize_by(model: MILModel, pool: Pool, mode: str) -> None:
    """Let the model normalize features by the tiles of `pool`, as `training.normalize` does."""
    if mode != "none":
        tiles = torch.from_numpy(np.concatenate(pool))
        model.normalization = fit_normalization(tiles.mean(dim=0), tiles.std(dim=0), mode)


def batches(pool: Pool, seed: int, size: int) -> Iterator[Batch]:
    """Random batches without end: pairs of bags with the same tiles, one of each class."""
    rng = np.random.default_rng(seed)
    while True:
        pairs = [draw_tiles(rng, pool) for _ in range(size // 2)]
        tiles = np.concatenate([vectors for pair in pairs for vectors in (pair, pair)])
        grids = np.concatenate([draw_positions(rng, touching) for _ in pairs for touching in (False, True)])
        yield torch.from_numpy(tiles), torch.from_numpy(grids), torch.tensor([0, 1] * len(pairs))


def bag_set(pool: Pool, seed: int, bags: int) -> Batch:
    """A fixed set of bags, each of its own tiles, half of them of either class."""
    rng = np.random.default_rng(seed)
    drawn = [(draw_tiles(rng, pool), draw_positions(rng, touching)) for touching in (False, True) * (bags // 2)]
    tiles, grids = (torch.from_numpy(np.concatenate(part)) for part in zip(*drawn, strict=True))
    return tiles, grids, torch.tensor([0, 1] * (bags // 2))


def repeated(bags: Batch, seed: int, augment_grid: str) -> Iterator[Batch]:
    """Batches without end of a fixed set of bags, in another order in each pass, as `training.augment_grid` moves them."""
    features, grid, labels = bags[0].unflatten(0, (-1, TILES)), bags[1].unflatten(0, (-1, TILES)), bags[2]
    order, moves = (Generator().manual_seed(seed) for _ in range(2))
    while True:
        for chosen in torch.randperm(len(labels), generator=order).split(SET_BATCH):
            moved = torch.cat([augment(positions, augment_grid, moves) for positions in grid[chosen]])
            yield features[chosen].flatten(0, 1), moved, labels[chosen]


def draw_tiles(rng: np.random.Generator, pool: Pool) -> np.ndarray:
    """The vectors of a bag's tiles (TILES, F): first the As, then the Bs, then the background."""
    counts = (TILES_PER_KIND, TILES_PER_KIND, TILES - 2 * TILES_PER_KIND)
    return np.concatenate([kind[rng.integers(0, len(kind), n)] for kind, n in zip(pool, counts, strict=True)])


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


def fit(model: MILModel, data: Iterator[Batch], steps: int) -> float:
    """Train; returns the mean loss of the last tenth of the steps."""
    losses = []
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-4)
    model.train()
    for features, grid, labels in islice(data, steps):
        lengths = [TILES] * len(labels)
        loss = mil_loss(model(features, grid, lengths), labels, lengths)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return float(np.mean(losses[-max(1, steps // 10) :]))


@torch.no_grad()
def test_auroc(model: MILModel, pool: Pool, seed: int, move: Callable[[Tensor], Tensor]) -> float:
    """AUROC on TEST_BAGS bags of tiles that were not trained on, with their grid moved by `move`."""
    model.eval()
    features, grid, labels = next(batches(pool, seed, TEST_BAGS))
    out = model(features, move(grid), [TILES] * len(labels))
    return CLASSIFICATION.compute_metrics(labels.numpy(), out.logits.softmax(-1).numpy())["auroc"]


def shuffle_bags(grid: Tensor) -> Tensor:
    """The positions of each bag, exchanged among its tiles at random."""
    return torch.cat([shuffle_positions(bag, str(number), 0) for number, bag in enumerate(grid.split(TILES))])


if __name__ == "__main__":
    main()
