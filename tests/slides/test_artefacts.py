import cv2
import numpy as np
import pytest

from roformermil.config import Tissue
from roformermil.slides.artefacts import pen_marks, tissue_folds
from roformermil.slides.reader import SlideReader
from roformermil.slides.tissue import segment

INKS = {"green": (20, 140, 60), "blue": (30, 60, 200), "red": (215, 10, 25), "black": (15, 15, 20)}
HAEMATOXYLIN, EOSIN, DAB = (0.650, 0.704, 0.286), (0.072, 0.990, 0.105), (0.268, 0.570, 0.776)  # Ruifrok 2001
TISSUES = "congestion-spleen morphea giardia"
CARCINOMAS = "signet-ring-cell-carcinoma mucinous-adenocarcinoma-colon breast-lobular-carcinoma"


@pytest.fixture
def image():
    """Pink tissue of uneven darkness on glass; 8 um/px."""
    rng = np.random.default_rng(0)
    image = rng.normal(243, 1, (300, 400, 3)).astype(np.uint8)
    shade = cv2.GaussianBlur(rng.normal(0, 40, (200, 300)).astype(np.float32), (0, 0), 5)
    image[50:250, 50:350] = np.clip(np.array([205, 150, 190]) + shade[..., None], 0, 255)
    return image


@pytest.mark.parametrize("colour", INKS)
def test_pen_marks_are_removed_and_tissue_is_kept(image, colour):
    whole = segment(image, Tissue())
    cv2.line(image, (60, 60), (330, 220), INKS[colour], 6)
    cv2.circle(image, (200, 20), 12, INKS[colour], -1)  # on the glass
    stroke = np.abs(image.astype(int) - INKS[colour]).max(axis=2) < 5
    kept = segment(image, Tissue(drop_pen=True))
    assert not kept[stroke].any() and kept[whole].mean() > 0.8
    assert segment(image, Tissue())[stroke].mean() > 0.5, "only with drop_pen"


def test_a_fold_is_removed_and_tissue_is_kept(image):
    whole = segment(image, Tissue())
    fold = np.zeros(whole.shape, bool)
    fold[60:240, 180:200] = True
    image[fold] = (255 * (image[fold] / 255.0) ** 3).astype(np.uint8)  # the light that three layers transmit
    kept = segment(image, Tissue(drop_folds=True))
    assert kept[fold].mean() < 0.2 and kept[whole & ~fold].mean() > 0.95
    assert segment(image, Tissue())[fold].mean() > 0.9


@pytest.fixture(params=[*TISSUES.split(), *CARCINOMAS.split()])
def real_image(shared, request):
    """An atlas slide at 8 um/px."""
    with SlideReader(shared / f"slides/pathology_atlas/{request.param}.svs", 0.5) as slide:
        return slide.overview(8.0)


@pytest.mark.shared
def test_clean_real_slides_lose_less_than_3_per_cent_and_brown_stain_is_segmented_like_eosin(real_image):
    """Brown: with the eosin replaced by DAB, as in immunohistochemistry (colour deconvolution, Ruifrok 2001)."""
    mask = segment(real_image, Tissue())
    assert max(pen_marks(real_image, 8.0)[mask].mean(), tissue_folds(real_image, mask, 8.0)[mask].mean()) < 0.03
    density = -np.log(np.maximum(real_image, 1) / 245.0)
    third = np.cross(HAEMATOXYLIN, EOSIN)
    brown = density @ np.linalg.inv([HAEMATOXYLIN, EOSIN, third]) @ np.array([HAEMATOXYLIN, DAB, third])
    stained = np.clip(245 * np.exp(-brown), 0, 255).astype(np.uint8)
    brown_mask = segment(stained, Tissue())
    assert (mask & brown_mask).sum() / (mask | brown_mask).sum() > 0.9
