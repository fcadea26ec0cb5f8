"""Published weights, downloaded where there is a network, before any job needs them."""

from pathlib import Path

from roformermil.config import Encoder, Tissue
from roformermil.features.encoders import load_trunk
from roformermil.features.weights import weights_id
from roformermil.runtime.files import write_text


def download_published(encoder: Encoder, tissue: Tissue, out: Path) -> None:
    """Download what these settings take from elsewhere, load it once, and list the networks in `out`, by SHA-256 of their
    weights where it is known. What is in the cache already is only checked. Raises WeightsError."""
    lines = []
    if encoder.is_downloaded:
        lines.append(f"{weights_id(encoder, load_trunk(encoder))}  {encoder.name}")
    if tissue.is_downloaded:
        from roformermil.slides.toolbox import load_grandqc

        load_grandqc(None)
        lines.append("GrandQC")
    write_text(out, "".join(f"{line}\n" for line in lines))
