"""Encoders from timm (Wightman 2019, doi 10.5281/zenodo.4414861), including pathology's foundation models. Needs the
extra `[timm]`. Gated models need their owner's permission on the hub, or a file of weights (`encoder.weights`)."""

from typing import Any

import torch
from torch import Tensor, nn

from roformermil.config import Encoder
from roformermil.config.encoder_specs import EncoderSpec
from roformermil.errors import WeightsError
from roformermil.features.weights import load_weights

try:
    import timm
    from timm.layers import SwiGLUPacked
except (ImportError, RuntimeError) as problem:  # RuntimeError: torchvision was built for another torch
    remedy = "pip install timm, or use `make tiatoolbox`'s environment"
    raise WeightsError(f"this encoder needs timm ({problem}): {remedy}") from problem

LAYERS: dict[str, Any] = {"SwiGLUPacked": SwiGLUPacked, "silu": nn.SiLU}


class ClassAndMean(nn.Module):
    """A vision transformer's class token and the mean of its patch tokens, concatenated, as on Virchow's model card.

    first_patch: number of the first patch token, after the class and register tokens. (B, 3, H, W) -> (B, 2 * d).
    """

    def __init__(self, trunk: nn.Module, first_patch: int):
        super().__init__()
        self.trunk, self.first_patch = trunk, first_patch

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.trunk(x)  # (B, 1 + registers + patches, d)
        return torch.cat((tokens[:, 0], tokens[:, self.first_patch :].mean(dim=1)), dim=1)


def create_timm_model(settings: Encoder, spec: EncoderSpec) -> nn.Module:
    """The network with the weights that the settings name. Raises WeightsError."""
    options = {key: LAYERS.get(value, value) for key, value in spec.options.items()}
    from_hub = settings.weights == "hub"
    torch.manual_seed(settings.seed)
    try:
        name = spec.hub if from_hub and spec.hub else spec.architecture
        trunk = timm.create_model(name, pretrained=from_hub, num_classes=0, **options)
    except Exception as error:  # timm and the hub raise all kinds
        raise WeightsError(
            f"encoder {settings.name}: {error}. Check that timm has such a model. Jobs download nothing: "
            f"{WeightsError.download}. A gated model needs its owner's permission and `huggingface-cli login`; without the "
            "hub, set encoder.weights to its file"
        ) from error
    if path := settings.weights_path:
        load_weights(trunk, path, ignored=("head.", "fc."), network=settings.name)
    return trunk if spec.mean_from is None else ClassAndMean(trunk, spec.mean_from)
