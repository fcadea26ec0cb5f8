"""What to do about a slide that a packaged model cannot use: its settings are fixed, and slides have no rows to exclude."""

from pathlib import Path

from roformermil.config import Tiles
from roformermil.errors import SlideError, Status
from roformermil.slides.scale import GIVEN_BY

MPP_OPTION = "with --mpp, or in the column mpp of a slide sheet"


def explain_to_predict(error: SlideError, tiles: Tiles, outlines: Path) -> str:
    """The error's message with a remedy that `predict` offers. tiles: of the model's training; outlines: the folder of
    pictures that `segment` drew."""
    problem = error.problem.replace(GIVEN_BY, "--mpp, or column mpp of the slide sheet")
    if not error.remedy:  # the same in training
        return problem
    scale = f"{tiles.target_mpp:g} um/px (about {10 / tiles.target_mpp:.2g}x)"
    look = f"look at its outline in {outlines.absolute()}"
    remedies = {
        Status.NO_MPP: f"give it in um/px {MPP_OPTION}",
        Status.ABSURD_MPP: f"give the right one in um/px {MPP_OPTION}",
        Status.ANISOTROPIC: f"if that is wrong, give the resolution in um/px {MPP_OPTION}",
        Status.TOO_COARSE: f"this model was trained at {scale} and cannot take this slide; scan or export it at that or finer",
        Status.TOO_SMALL: f"this model's tiles are {tiles.tile_px} px at {scale}, so it cannot take this slide",
        Status.ABSURD_SIZE: f"if its resolution is wrong, give it in um/px {MPP_OPTION}",
        Status.EMPTY: f"{look}; for other settings of this slide, give a slide sheet with the column tissue",
    }
    return f"{problem}; {remedies.get(Status(error.status), 'this model cannot take this slide')}"
