"""A data set's figures show what the predictions say: their colours are looked for where curves and bars must be."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors.numpy import save_file

from roformermil.report.plots.dataset import plot_dataset

BLUE, ORANGE, GREY = (31, 119, 180), (255, 127, 14), (140, 140, 140)  # matplotlib's first colours
MODELS = ("knows", "guesses", "knows-too", "guesses-too")


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    """Figures of a model that is always right and one that guesses, both twice, two classes, five folds."""
    folder, rng = tmp_path_factory.mktemp("figures"), np.random.default_rng(0)
    paths = []
    for model in MODELS:
        for fold in range(5):
            label = np.arange(20) % 2
            p = 0.05 + 0.9 * label if model.startswith("knows") else rng.random(20)
            names = [f"{fold}_{k}" for k in range(20)]
            table = pd.DataFrame(
                {
                    "slide_id": names,
                    "patient_id": names,
                    "label": np.array(["adenocarcinoma", "squamous"])[label],
                    "part": "test",
                }
            )
            path = folder / f"set/net/{model}/fold_{fold}/predictions.csv"
            path.parent.mkdir(parents=True)
            table.assign(probability_adenocarcinoma=1 - p, probability_squamous=p).to_csv(path, index=False)
            losses = pd.DataFrame(
                {"epoch": range(5), "train_loss": np.linspace(1, 0.2, 5), "validation_loss": np.linspace(1, 0.6, 5)}
            )
            losses.to_csv(path.with_name("history.csv"), index=False)
            save_file({"w": np.zeros(1)}, path.with_name("model.safetensors"), {"best_epoch": "2"})
            paths.append(path)
    plot_dataset(paths, folder)
    return folder


def panel(path, column, row, rows, columns=4):
    """The pixels of a panel, (h, w, 3), a column a model; axes and labels with it."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    top = 50  # the title
    height, width = (pixels.shape[0] - top) // rows, pixels.shape[1] // columns
    return pixels[top + row * height : top + (row + 1) * height, column * width : (column + 1) * width]


def has(pixels, colour):
    return (np.abs(pixels - colour).max(axis=-1) < 12).sum()


def test_curves_of_who_knows_lie_in_the_corner(figures):
    knows, guesses = (panel(figures / "curves.png", column, 0, 2) for column in (0, 1))
    assert min(has(knows, BLUE), has(guesses, BLUE)) > 100
    y, x = np.nonzero(np.abs(guesses - BLUE).max(axis=-1) < 12)
    assert np.corrcoef(x, y)[0, 1] < -0.8, "guessing runs along the diagonal"
    y, x = np.nonzero(np.abs(knows - BLUE).max(axis=-1) < 12)
    assert np.ptp(y[x > x.min() + 5]) < 0.2 * knows.shape[0] and np.ptp(x) > 0.6 * knows.shape[1], (
        "knowing along the top"
    )
    assert np.ptp(y) > 0.5 * knows.shape[0], "from the corner"
    shade = np.array(BLUE) * 0.18 + 255 * 0.82
    assert has(guesses, shade) > 20 * has(knows, shade), "a band where patients make a difference"


def test_confusion_is_dark_on_its_diagonal(figures):
    knows = panel(figures / "confusion.png", 0, 0, 1, columns=2)  # beside who guesses, who is never dark
    dark = np.abs(knows - (8, 48, 107)).max(axis=-1) < 12  # the darkest of Blues
    y, x = np.nonzero(dark)
    middle_y, middle_x = np.median(np.unique(y)), np.median(np.unique(x))
    assert (((y < middle_y) == (x < middle_x)).mean()) > 0.95 and dark.sum() > 5000


def test_calibration_and_history_are_drawn(figures):
    for column in (0, 1):
        assert has(panel(figures / "calibration.png", column, 0, 2), BLUE) > 50
        assert has(panel(figures / "calibration.png", column, 1, 2), (179, 179, 179)) > 500, "slides a bin"
        history = panel(figures / "history.png", column, 0, 1)
        assert min(has(history, ORANGE), has(history, GREY)) > 50


def test_who_guesses_comes_true_half_of_the_time_whatever_is_claimed(figures):
    y, x = np.nonzero(np.abs(panel(figures / "calibration.png", 1, 0, 2) - BLUE).max(axis=-1) < 12)
    assert x.std() > 1.3 * y.std(), "claimed to the right, observed upwards"


def test_the_dot_is_at_the_epoch_that_was_kept(figures):
    """Epoch 2 of 0 to 4: in the middle, though the loss falls to the end."""
    pixels = panel(figures / "history.png", 1, 0, 1)
    dots, _ = np.nonzero(np.abs(pixels - (214, 39, 40)).max(axis=-1) < 12)
    line, _ = np.nonzero(np.abs(pixels - ORANGE).max(axis=-1) < 12)
    assert np.median(dots) == pytest.approx((line.min() + line.max()) / 2, abs=4)


@pytest.mark.parametrize("name", ["curves", "confusion", "calibration", "history"])
def test_nothing_is_cut_off(figures, name):
    with Image.open(figures / f"{name}.png") as image:
        pixels = np.asarray(image.convert("RGB"))
    edges = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    assert (edges > 250).all(), "ink at the edge"
