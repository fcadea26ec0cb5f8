"""What a heat map is about: the class shown, whether attention singles out tiles, and whether positions change contributions."""

from decimal import Decimal

import numpy as np

from roformermil.models.inference import Prediction

EVEN = 1.5  # attention within this factor of its mean is called even: ranks of it would make a pattern of noise
ROUND_OFF = 1e-3  # attention of one slide sums to 1 within it
DIFFERENT = 0.1  # of all contributions, and log-odds: smaller differences between two maps are not shown


def shown_class(prediction: Prediction) -> int:
    """The column of margins and attention that maps show: of two classes the second, whatever is predicted, so that colours mean the
    same on all slides; of more, the predicted."""
    return prediction.shown


def times_mean(attention: np.ndarray) -> np.ndarray:
    """Attention (n,) for a class in multiples of its mean."""
    return attention / attention.mean()


def share_of_bag(prediction: Prediction, shown: int) -> float:
    """The share of the attention for a class that is on these tiles: below 1 where other slides are in the bag."""
    return float(prediction.map_attention[:, shown].sum(dtype=float))


def is_part(prediction: Prediction) -> bool:
    """Whether the prediction is of more slides than the one whose tiles it has."""
    return bool((prediction.attention.sum(axis=0, dtype=float) < 1 - ROUND_OFF).any())


def is_even(attention: np.ndarray) -> bool:
    """Whether no tile has EVEN times the mean attention, nor the mean EVEN times that of a tile. attention: (n,) for a class."""
    times = times_mean(attention)
    return bool(times.max() <= EVEN and times.min() * EVEN >= 1)


def tiles_with_half(attention: np.ndarray) -> int:
    """The fewest tiles that have half of the attention (n,) for a class."""
    shares = np.sort(attention)[::-1].cumsum() / attention.sum()
    return int(np.searchsorted(shares, 0.5) + 1)


def shuffled_margins(prediction: Prediction, shuffled: Prediction | None, shown: int) -> np.ndarray | None:
    """The contributions (n, C) of a prediction with shuffled positions, as `Prediction.margins`; None where those to the class
    `shown` do not differ visibly from the prediction's own."""
    if shuffled is None or shuffled.margins is None or prediction.margins is None:
        return None
    own = prediction.margins[:, shown]
    difference = np.abs(own - shuffled.margins[:, shown]).sum()
    least = max(DIFFERENT * prediction.task.scale, DIFFERENT * np.abs(own).sum())
    return shuffled.margins if difference > least else None


def is_negligible(margins: np.ndarray, scale: float = 1) -> bool:
    """Whether tiles would hardly change the odds of a class even if each of the n contributed as much as the strongest. scale: of the
    task."""
    return bool(np.abs(margins).max() * len(margins) < DIFFERENT * scale)


def short_text(value: float, sign: str = "") -> str:
    """Two digits of a value, without an exponent. sign: as of format specifications."""
    return f"{Decimal(f'{value:#.2g}' if value else '0'):{sign},f}"
