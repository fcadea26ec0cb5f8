"""The encoders with a name of their own: their network, and the tiles that it was trained on.

Values are from each model's card on its hub. `timm:NAME` is any other model of timm.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
H_OPTIMUS = ((0.707223, 0.578729, 0.703617), (0.211883, 0.230117, 0.177517))
SWIGLU: dict[str, Any] = {"mlp_layer": "SwiGLUPacked", "act_layer": "silu", "init_values": 1e-5}
VIRCHOW: dict[str, Any] = {**SWIGLU, "mlp_ratio": 5.3375, "global_pool": ""}
UNI2_SIZE = {"patch_size": 14, "depth": 24, "num_heads": 24, "embed_dim": 1536, "mlp_ratio": 5.33334}
UNI2: dict[str, Any] = {**SWIGLU, **UNI2_SIZE, "no_embed_class": True, "reg_tokens": 8}


@dataclass(frozen=True)
class EncoderSpec:
    """A network, and how its tiles are cut and normalised."""

    tile_px: int = 256  # default of `tiles.tile_px`
    mpp: float = 0.5  # um/px, default of `tiles.target_mpp`
    normalisation: tuple[tuple[float, ...], tuple[float, ...]] = IMAGENET  # mean and std of (R, G, B) in 0..1
    architecture: str = ""  # timm's name; empty for our own ResNet-50
    hub: str = ""  # where timm downloads the weights from
    options: Mapping[str, Any] = field(default_factory=dict)  # of the architecture
    mean_from: int | None = None  # class token beside the mean of all tokens from this one on; None: as timm pools


def _vit(
    architecture: str, hub: str, normalisation: tuple = IMAGENET, mean_from: int | None = None, **options: Any
) -> EncoderSpec:
    """A vision transformer from the Hugging Face hub, trained on tiles of 224 px."""
    return EncoderSpec(224, 0.5, normalisation, architecture, f"hf-hub:{hub}", options, mean_from)


H_OPTIMUS_VIT = partial(_vit, "vit_giant_patch14_reg4_dinov2", normalisation=H_OPTIMUS, img_size=224, init_values=1e-5)
SPECS: dict[str, EncoderSpec] = {
    "resnet50": EncoderSpec(),  # after layer3, 1024 values: the paper's
    "resnet50-full": EncoderSpec(),  # after layer4, 2048 values
    "uni": _vit("vit_large_patch16_224", "MahmoodLab/UNI", init_values=1e-5),
    "uni2-h": _vit("vit_giant_patch14_224", "MahmoodLab/UNI2-h", **UNI2),
    "virchow": _vit("vit_huge_patch14_224", "paige-ai/Virchow", mean_from=1, **VIRCHOW),
    "virchow2": _vit("vit_huge_patch14_224", "paige-ai/Virchow2", mean_from=5, reg_tokens=4, **VIRCHOW),
    "h-optimus-0": H_OPTIMUS_VIT(hub="bioptimus/H-optimus-0"),
    "h-optimus-1": H_OPTIMUS_VIT(hub="bioptimus/H-optimus-1"),
}
TIMM = "timm:"
IMPORTED = "imported"  # features of other pipelines, read from .h5 files


def encoder_spec(name: str) -> EncoderSpec:
    """The spec of an encoder by its name in the config."""
    if name.startswith(TIMM):
        return EncoderSpec(architecture=name.removeprefix(TIMM))
    return SPECS.get(name, EncoderSpec())
