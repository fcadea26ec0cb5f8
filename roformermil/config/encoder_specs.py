"""The encoders that have a name here: which network, and the tiles that it was trained on.

Facts are those of each model's own card on its hub. `timm:NAME` stands for any other model of timm.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
H_OPTIMUS = ((0.707223, 0.578729, 0.703617), (0.211883, 0.230117, 0.177517))
VIRCHOW = {"mlp_layer": "SwiGLUPacked", "act_layer": "silu", "mlp_ratio": 5.3375, "init_values": 1e-5}
UNI2 = {"patch_size": 14, "depth": 24, "num_heads": 24, "embed_dim": 1536, "init_values": 1e-5, "mlp_ratio": 5.33334,
        "no_embed_class": True, "reg_tokens": 8, "mlp_layer": "SwiGLUPacked", "act_layer": "silu"}  # fmt: skip


@dataclass(frozen=True)
class EncoderSpec:
    """A network, and how its tiles are cut and normalised."""

    tile_px: int = 256  # side of a tile, unless `tiles.size` says otherwise
    mpp: float = 0.5  # um/px, unless `tiles.mpp` says otherwise
    normalisation: tuple[tuple[float, ...], tuple[float, ...]] = (
        IMAGENET  # mean, standard deviation of (R, G, B) in 0..1
    )
    architecture: str = ""  # timm's name; none: our own ResNet-50
    hub: str = ""  # where timm fetches its weights
    options: Mapping[str, Any] = field(default_factory=dict)  # of the architecture
    mean_from: int | None = None  # class token beside the mean of all tokens from this one on; None: as timm pools


SPECS: dict[str, EncoderSpec] = {
    "resnet50": EncoderSpec(),  # after layer3, 1024 values: the paper's
    "resnet50-full": EncoderSpec(),  # after layer4, 2048 values
    "uni": EncoderSpec(
        224, architecture="vit_large_patch16_224", hub="hf-hub:MahmoodLab/UNI", options={"init_values": 1e-5}
    ),
    "uni2-h": EncoderSpec(224, architecture="vit_giant_patch14_224", hub="hf-hub:MahmoodLab/UNI2-h", options=UNI2),
    "virchow": EncoderSpec(
        224, architecture="vit_huge_patch14_224", hub="hf-hub:paige-ai/Virchow",
        options={**VIRCHOW, "global_pool": ""}, mean_from=1,
    ),
    "virchow2": EncoderSpec(
        224, architecture="vit_huge_patch14_224", hub="hf-hub:paige-ai/Virchow2",
        options={**VIRCHOW, "global_pool": "", "reg_tokens": 4}, mean_from=5,
    ),
    "h-optimus-0": EncoderSpec(
        224, normalisation=H_OPTIMUS, architecture="vit_giant_patch14_reg4_dinov2", hub="hf-hub:bioptimus/H-optimus-0",
        options={"img_size": 224, "init_values": 1e-5},
    ),
    "h-optimus-1": EncoderSpec(
        224, normalisation=H_OPTIMUS, architecture="vit_giant_patch14_reg4_dinov2", hub="hf-hub:bioptimus/H-optimus-1",
        options={"img_size": 224, "init_values": 1e-5},
    ),
}  # fmt: skip
TIMM = "timm:"
IMPORTED = "imported"  # features of other pipelines, read from .h5 files


def encoder_spec(name: str) -> EncoderSpec:
    """What is known of an encoder by its name in the config."""
    if name.startswith(TIMM):
        return EncoderSpec(architecture=name.removeprefix(TIMM))
    return SPECS.get(name, EncoderSpec())
