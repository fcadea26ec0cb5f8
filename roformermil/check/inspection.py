"""Every slide opened before a run: what its file is, its tissue and its tiles."""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from roformermil.cohort import slide_table
from roformermil.cohort.slide_table import SlideRecord
from roformermil.config import Config
from roformermil.runtime.subprocesses import SubprocessStream, run_in_subprocess

if TYPE_CHECKING:
    import numpy as np

    from roformermil.slides.tiles import TileSpec


@dataclass(frozen=True)
class InspectedSlide:
    """A slide after its inspection."""

    record: SlideRecord  # with all that is known, also of a slide that failed
    format: str = ""  # as its reader names it
    sample: "tuple[TileSpec, np.ndarray] | None" = None  # of its tiles: how they are read, coords (k, 2) of level 0


def inspect_slides(config: Config, records: Sequence[SlideRecord], progress: bool = True) -> list[InspectedSlide]:
    """The slides after a trial of each: with a failed status where it cannot be used, and with warnings."""
    fields: dict[str, dict[str, Any]] = {}  # by slide_id

    def inspect(record: SlideRecord) -> dict[str, Any]:
        known = fields[record.slide_id] = {"format": "", "sample": None}
        for step in _inspect(record, config):
            known |= step
        return {name: value for name, value in known.items() if name not in ("format", "sample")}

    log = logging.getLogger(slide_table.__name__)
    level = log.level
    log.setLevel(logging.ERROR)  # failures and warnings are among the problems
    try:
        results = slide_table.run_stage("check", records, inspect, len(os.sched_getaffinity(0)), progress)
    finally:
        log.setLevel(level)
    slides = []
    for record in results:
        known = fields.get(record.slide_id, {})
        of_file = {name: known.pop(name) for name in ("format", "sample") if known}
        slides.append(InspectedSlide(replace(record, **known), **of_file))
    return slides


def _inspect(record: SlideRecord, config: Config) -> Iterator[dict[str, Any]]:
    """Fields of SlideRecord and InspectedSlide as they become known. Raises SlideError."""
    from roformermil.features.hdf5 import inspect_features  # image libraries, which `check_plan` does not need
    from roformermil.slides.steps import inspect_slide, read_format, read_metadata, tissue_settings

    timeout = config.slide_timeout
    if config.encoder.is_imported:
        yield {"format": "h5"}
        yield run_in_subprocess(inspect_features, record, timeout=timeout)
    elif tissue_settings(record, config.tissue).needs_tiatoolbox and not find_spec("tiatoolbox"):
        yield run_in_subprocess(read_format, record.path, timeout=timeout)
        yield run_in_subprocess(read_metadata, record, timeout=timeout)
    else:
        with closing(SubprocessStream(inspect_slide, record, config.tissue, config.tiles, timeout=timeout)) as steps:
            yield from steps
