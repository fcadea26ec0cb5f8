"""The frozen network that turns a tile into a vector, made ready to run fast."""

import logging
import shutil
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from roformermil.config import Encoder
from roformermil.config.encoder_specs import IMAGENET, EncoderSpec, encoder_spec
from roformermil.errors import WeightsError
from roformermil.features.resnet import PAPER, STAGES, ResNet50Trunk, initialise
from roformermil.features.weights import read_state, weights_file

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

log = logging.getLogger(__name__)


class TileEncoder:
    """A trunk ready for inference: batch norm folded into the convolutions, channels-last, no gradients.

    Call with (B, size, size, 3) uint8 RGB; returns (B, d) float32 on the device, which may still be at work.
    """

    def __init__(self, trunk: nn.Module, device: torch.device, precision: str, normalisation=IMAGENET, side: int = 0):
        """side: pixels that the trunk must be given, 0 where any number will do."""
        self.device, self.precision, self.side = device, precision, side
        self._dtype = PRECISIONS[precision]
        trunk = fold_batch_norm(trunk.eval()).to(device, self._dtype)
        self._trunk = trunk.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        mean, std = (255 * torch.tensor(values).view(3, 1, 1).to(device) for values in normalisation)
        self._mean, self._std = mean, std

    @torch.no_grad()
    def __call__(self, tiles: Tensor) -> Tensor:
        if self.device.type == "cuda":
            tiles = tiles.pin_memory()
        x = tiles.to(self.device, non_blocking=True).permute(0, 3, 1, 2)  # (B, 3, H, W), channels-last in memory
        x = x.float()
        if self.side and x.shape[-1] != self.side:
            x = nn.functional.interpolate(x, size=(self.side, self.side), mode="bicubic", antialias=True).clamp_(0, 255)
        x = x.sub_(self._mean).div_(self._std).to(self._dtype)
        return self._trunk(x).float()

    def compile(self, tiles: Tensor) -> None:
        """Compile the trunk for batches of the shape of `tiles`. Half a minute at first, seconds from torch's cache on.

        Raises whatever the compiler does; the trunk is then as it was.
        """
        plain = self._trunk
        with torch._inductor.config.patch(freezing=True):  # weights laid out for the convolutions once
            self._trunk = torch.compile(plain, dynamic=False)
            try:
                self(tiles)
            except Exception:
                self._trunk = plain
                raise


def build_encoder(settings: Encoder, trunk: nn.Module | None = None) -> TileEncoder:
    """The encoder that the settings name, on the GPU if there is one. Raises WeightsError.

    trunk: the network of `load_trunk`, where it is at hand already.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trunk = trunk or load_trunk(settings)
    spec = encoder_spec(settings.name)
    normalisation, side = spec.normalisation, 0
    if spec.architecture:
        from roformermil.features.timm_models import input_of

        normalisation, side = input_of(trunk, spec)
    return TileEncoder(trunk, device, resolve_precision(settings, device), normalisation, side)


def compile_where_it_pays(encoder: TileEncoder, settings: Encoder, tile_px: int) -> None:
    """Do what `encoder.compile` asks for. `auto`: on a CPU with a C++ compiler, and without harm where that fails."""
    if settings.compile == "never" or (settings.compile == "auto" and not _worth_trying(encoder.device)):
        return
    try:
        encoder.compile(torch.zeros(settings.batch_size, tile_px, tile_px, 3, dtype=torch.uint8))
    except Exception as error:
        if settings.compile == "always":
            raise
        log.warning("the encoder runs uncompiled, at two thirds of the speed: %s", str(error).splitlines()[0])


def _worth_trying(device: torch.device) -> bool:
    return device.type == "cpu" and any(map(shutil.which, ("c++", "g++", "clang++")))


def resolve_precision(settings: Encoder, device: torch.device) -> str:
    if settings.precision != "auto":
        return settings.precision
    return "fp16" if device.type == "cuda" else "fp32"


def load_trunk(settings: Encoder) -> nn.Module:
    """The plain network with its weights, in evaluation mode."""
    spec: EncoderSpec = encoder_spec(settings.name)
    if settings.is_imported:
        raise WeightsError("imported features are not computed here: roformermil import")
    if spec.architecture:
        from roformermil.features.timm_models import create

        return create(settings, spec).eval()
    stages = len(STAGES) if settings.name == "resnet50-full" else PAPER
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
                f"encoder.weights: {path} is not a ResNet-50 with torchvision's names: {error}"
            ) from error
    return trunk.eval()


def fold_batch_norm(module: nn.Module) -> nn.Module:
    """Fold every batch norm into the convolution before it: the same function in evaluation mode, half the passes."""
    for (name, child), (next_name, after) in pairwise(list(module.named_children())):
        if isinstance(child, nn.Conv2d) and type(after) is nn.BatchNorm2d:
            setattr(module, name, fuse_conv_bn_eval(child, after))
            setattr(module, next_name, nn.Identity())
    for child in module.children():
        fold_batch_norm(child)
    return module
