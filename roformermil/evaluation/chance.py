"""Whether a model does better than guessing, in a sentence."""

CHANCE = 0.5  # the AUROC of guessing, also as a mean over classes against the rest


def chance_warning(name: str, mean: float | None, low: float | None, high: float | None) -> str:
    """That a model is not better than chance; "" for one that is.

    name: the model's; mean, low, high: its AUROC and the 95% interval, None where there is none. Without an interval, as with
    a perfect score or equal probabilities for all slides, the mean counts.
    """
    if mean is None:
        return ""
    if low is None or high is None:
        return "" if mean > CHANCE else f"{name} is not better than chance: its AUROC is {mean:.2f}"
    auroc = f"its AUROC is {mean:.2f}, 95% interval {low:.2f} to {high:.2f}"
    if high < CHANCE:
        return f"{name} is worse than chance: {auroc}"
    return f"{name} is not distinguishable from chance: {auroc}" if low <= CHANCE else ""
