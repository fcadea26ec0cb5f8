"""The frozen network that turns a tile into a vector, prepared for speed."""

import logging
import shutil
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from roformermil.config import Encoder
from roformermil.config.encoder_specs import IMAGENET, encoder_spec
from roformermil.errors import WeightsError
from roformermil.features.resnet import PAPER_STAGES, STAGES, ResNet50Trunk, initialise
from roformermil.features.weights import read_state, weights_file
from roformermil.runtime.gpus import best_device, resolve_precision

PRECISION_NAMES = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}

log = logging.getLogger(__name__)


class TileEncoder:
    """A trunk ready for inference: batch norm folded into the convolutions, channels-last, no gradients.

    Call it with (B, tile_px, tile_px, 3) uint8 RGB; returns (B, d) float32 on the device, which may still be computing.
    """

    def __init__(
        self, trunk: nn.Module, device: torch.device, dtype: torch.dtype, normalisation=IMAGENET, input_px: int = 0
    ):
        """normalisation: mean and standard deviation of R, G, B in 0..1. input_px: side that the trunk requires, 0 for any."""
        self.device, self.input_px = device, input_px
        self.precision = PRECISION_NAMES[dtype]
        self._dtype = dtype
        trunk = fold_batch_norm(trunk.eval()).to(device, dtype)
        self._trunk = trunk.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._mean, self._std = (255 * torch.tensor(values).view(3, 1, 1).to(device) for values in normalisation)

    @torch.no_grad()
    def __call__(self, tiles: Tensor) -> Tensor:
        if self.device.type == "cuda":
            tiles = tiles.pin_memory()
        x = tiles.to(self.device, non_blocking=True).permute(0, 3, 1, 2)  # (B, 3, H, W), channels-last in memory
        x = x.float()
        if self.input_px and x.shape[-1] != self.input_px:
            size = (self.input_px, self.input_px)
            x = nn.functional.interpolate(x, size=size, mode="bicubic", antialias=True).clamp_(0, 255)
        x = x.sub_(self._mean).div_(self._std).to(self._dtype)
        return self._trunk(x).float()

    def compile(self, tiles: Tensor) -> None:
        """Compile the trunk for batches of the shape of `tiles`: half a minute the first time, seconds with torch's cache.

        Raises whatever the compiler raises; the trunk then stays uncompiled.
        """
        plain = self._trunk
        with torch._inductor.config.patch(freezing=True):  # lay out weights for the convolutions in advance
            self._trunk = torch.compile(plain, dynamic=False)
            try:
                self(tiles)
            except Exception:
                self._trunk = plain
                raise


def build_encoder(settings: Encoder, trunk: nn.Module | None = None) -> TileEncoder:
    """The encoder that the settings name, on the GPU if there is one. Raises WeightsError.

    trunk: the network of `load_trunk`, if it is loaded already.
    """
    device = best_device()
    trunk = trunk or load_trunk(settings)
    spec = encoder_spec(settings.name)
    normalisation, input_px = spec.normalisation, 0
    if spec.architecture:
        from roformermil.features.timm_models import input_format

        normalisation, input_px = input_format(trunk, spec)
    dtype = resolve_precision(settings.precision, device, on_gpu="fp16")
    return TileEncoder(trunk, device, dtype, normalisation, input_px)


def compile_encoder(encoder: TileEncoder, settings: Encoder, tile_px: int) -> None:
    """Compile the encoder if `settings.compile` asks for it. With `auto` a failure is a warning."""
    if settings.compile == "never" or (settings.compile == "auto" and not _can_compile(encoder.device)):
        return
    try:
        encoder.compile(torch.zeros(settings.batch_size, tile_px, tile_px, 3, dtype=torch.uint8))
    except Exception as error:
        if settings.compile == "always":
            raise
        log.warning("the encoder runs uncompiled, at two thirds of the speed: %s", str(error).splitlines()[0])


def _can_compile(device: torch.device) -> bool:
    return device.type == "cpu" and any(map(shutil.which, ("c++", "g++", "clang++")))


def load_trunk(settings: Encoder) -> nn.Module:
    """The network with its weights as published, in evaluation mode. Raises WeightsError."""
    if settings.is_imported:
        raise WeightsError("imported features are not computed here: use `roformermil import`")
    spec = encoder_spec(settings.name)
    if spec.architecture:
        from roformermil.features.timm_models import create_timm_model

        return create_timm_model(settings, spec).eval()
    stages = len(STAGES) if settings.name == "resnet50-full" else PAPER_STAGES
    trunk = ResNet50Trunk(stages)
    if settings.weights == "random":
        initialise(trunk, settings.seed)
    else:
        path = weights_file(settings)
        cut_off = ("fc.", *(f"layer{k}." for k in range(stages + 1, len(STAGES) + 1)))
        try:
            trunk.load_state_dict({k: v for k, v in read_state(path).items() if not k.startswith(cut_off)})
        except (AttributeError, RuntimeError, TypeError) as error:
            raise WeightsError(
                f"encoder.weights: {path.absolute()} is not a ResNet-50 with torchvision's names: {error}"
            ) from error
    return trunk.eval()


def fold_batch_norm(module: nn.Module) -> nn.Module:
    """The same function in evaluation mode with every batch norm folded into the convolution before it, in place."""
    for (name, child), (next_name, after) in pairwise(list(module.named_children())):
        if isinstance(child, nn.Conv2d) and type(after) is nn.BatchNorm2d:
            setattr(module, name, fuse_conv_bn_eval(child, after))
            setattr(module, next_name, nn.Identity())
    for child in module.children():
        fold_batch_norm(child)
    return module
