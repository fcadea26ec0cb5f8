"""Slide files, or another pipeline's feature files, to feature stores, with the settings and the code of the model's training."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from roformermil.cohort.slide_table import SlideRecord
from roformermil.config.base import read_settings
from roformermil.deployment.model_card import ModelCard, Preparation
from roformermil.deployment.remedies import explain_to_predict
from roformermil.errors import ModelError, SlideError, Status
from roformermil.features.embed import Embedder
from roformermil.runtime.subprocesses import run_in_subprocess
from roformermil.runtime.text import join_some
from roformermil.slides.slide_folder import is_feature_file
from roformermil.slides.steps import read_metadata, segment_slides, tile_slides

log = logging.getLogger(__name__)
NO_USABLE_MPP = (Status.NO_MPP, Status.ABSURD_MPP, Status.ANISOTROPIC)
Weights = Mapping[str, Path | None]  # files by the option of `predict` that gives them


def encode_slides(
    records: Sequence[SlideRecord],
    card: ModelCard,
    out: Path,
    weights: Weights,
    mpp: float | None,
    timeout: float,
    progress: bool,
) -> list[SlideRecord]:
    """The records after segmenting, tiling and encoding the slides into `{slide_id}.zarr` in the folder `features` of `out`; of a
    model that was trained on imported features, after importing the feature files.

    Current results are not computed again. mpp, timeout: as in `predict`. Raises ModelError for slides where the model takes none,
    and where weights are missing or not those of its training; ConfigError for weights that it does not use.
    """
    if not card.takes_slides:
        return _import_features(records, card, out, timeout)
    settings = _settings_with_weights(card, weights)
    embedder = Embedder(settings.encoder, timeout, progress)
    if (given := embedder.weights) != (expected := card.features["weights"]):
        raise ModelError(f"the encoder's weights are {given}, the model was trained on {expected}; see --weights")
    records = [_with_mpp(record, mpp, timeout) for record in records]
    explain = partial(explain_to_predict, tiles=settings.tiles, outlines=out / "tissue")
    masks, tiles = out / "tissue", out / "tiles"
    records = segment_slides(records, masks, settings.tissue, timeout, progress=progress, explain=explain)
    records = tile_slides(records, masks, tiles, settings.tiles, timeout, progress, explain)
    records = embedder.embed(records, tiles, out / "features")
    if count := embedder.profile.tiles:
        speed, device = count / embedder.profile.whole, embedder.encoder.device.type
        log.info("encoded %s tiles, %.3g per second on this machine (%s)", f"{count:,}", speed, device)
    return records


def _import_features(records: Sequence[SlideRecord], card: ModelCard, out: Path, timeout: float) -> list[SlideRecord]:
    from roformermil.features.hdf5 import import_slides

    if others := [record.path.name for record in records if not is_feature_file(record.path)]:
        takes = "was trained on imported features and takes only such, as .h5 or .zarr"
        raise ModelError(f"{card.name}: {takes}, not {join_some(others)}")
    return import_slides(records, out / "features", str(card.features["encoder"]), timeout)


def _settings_with_weights(card: ModelCard, given: Weights) -> Preparation:
    sections = card.settings.model_dump()
    for option, section in (("--weights", "encoder"), ("--tissue-weights", "tissue")):
        if path := given[option]:
            if not path.exists():
                raise ModelError(f"{option}: no file at {path.absolute()}")
            sections[section]["weights"] = str(path)
    settings = read_settings(Preparation, sections, "the model's settings with the given weights")
    for option, path in settings.weights_files.items():
        if not path.exists():
            origin = "a file of the lab that trained it"
            raise ModelError(f"{card.name}: needs the weights {path.name}, {origin}: give it with {option}")
    return settings


def _with_mpp(record: SlideRecord, mpp: float | None, timeout: float) -> SlideRecord:
    """The record, with this resolution if neither its slide sheet nor its file states a usable one."""
    if mpp is None or record.sheet_mpp or not record.is_ok:
        return record
    try:
        fields = run_in_subprocess(read_metadata, record, timeout=timeout)
    except SlideError as error:  # `segment` reports any other status
        return replace(record, sheet_mpp=mpp) if error.status in NO_USABLE_MPP else record
    log.info("%s: states its own resolution, %.4g um/px, so --mpp has no effect", record.slide_id, fields["mpp"])
    return record
