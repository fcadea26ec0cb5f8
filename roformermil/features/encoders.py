"""The frozen network that turns a tile into a vector, made ready to run fast.

ResNet-50 follows He et al. 2016 (arXiv 1512.03385) with torchvision's names and strides; the paper takes it after its
third stage, 1024 values a tile (section 3.2, as in CLAM).
"""

import math
from collections import OrderedDict
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from roformermil.config import Encoder
from roformermil.errors import WeightsError
from roformermil.files import file_sha256

# torchvision's ResNet50_Weights.IMAGENET1K_V1; the file's name carries the start of its sha256
IMAGENET_URL = "https://download.pytorch.org/models/resnet50-0676ba61.pth"
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
STAGES = ((3, 64, 1), (4, 128, 2), (6, 256, 2))  # blocks, width, stride of layer1 to layer3
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions around a shortcut; torchvision's version, with the stride in the middle."""

    def __init__(self, channels: int, width: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or channels != 4 * width:
            shortcut = nn.Conv2d(channels, 4 * width, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(4 * width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu(y + self.downsample(x))


class ResNet50Trunk(nn.Sequential):
    """ResNet-50 through layer3 and global average pooling: (B, 3, H, W) normalised -> (B, 1024)."""

    def __init__(self) -> None:
        parts: OrderedDict[str, nn.Module] = OrderedDict(
            conv1=nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False),
            bn1=nn.BatchNorm2d(64),
            relu=nn.ReLU(inplace=True),
            maxpool=nn.MaxPool2d(3, stride=2, padding=1),
        )
        channels = 64
        for number, (blocks, width, stride) in enumerate(STAGES, start=1):
            stage = [Bottleneck(channels, width, stride)]
            channels = 4 * width
            stage += [Bottleneck(channels, width, 1) for _ in range(blocks - 1)]
            parts[f"layer{number}"] = nn.Sequential(*stage)
        super().__init__(parts)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).mean(dim=(2, 3))


class TileEncoder:
    """A trunk ready for inference: batch norm folded into the convolutions, channels-last, no gradients.

    Call with (B, size, size, 3) uint8 RGB; returns (B, 1024) float32 on the CPU.
    """

    def __init__(self, trunk: nn.Module, device: torch.device, precision: str):
        self.device, self.precision = device, precision
        self._dtype = PRECISIONS[precision]
        trunk = fold_batch_norm(trunk.eval()).to(device, self._dtype)
        self._trunk = trunk.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
        self._mean = (255 * mean).view(3, 1, 1).to(device)
        self._std = (255 * std).view(3, 1, 1).to(device)

    @torch.inference_mode()
    def __call__(self, tiles: Tensor) -> Tensor:
        x = tiles.to(self.device, non_blocking=True).permute(0, 3, 1, 2)  # (B, 3, H, W), channels-last in memory
        x = x.float().sub_(self._mean).div_(self._std).to(self._dtype)
        return self._trunk(x).float().cpu()


def build_encoder(settings: Encoder) -> TileEncoder:
    """The encoder that the settings name, on the GPU if there is one. Raises WeightsError."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return TileEncoder(load_trunk(settings), device, resolve_precision(settings, device))


def resolve_precision(settings: Encoder, device: torch.device) -> str:
    if settings.precision != "auto":
        return settings.precision
    return "fp16" if device.type == "cuda" else "fp32"


def load_trunk(settings: Encoder) -> ResNet50Trunk:
    """The plain trunk with its weights, in evaluation mode."""
    trunk = ResNet50Trunk()
    if settings.weights == "random":
        initialise(trunk, settings.seed)
    else:
        _load(trunk, weights_file(settings))
    return trunk.eval()


def weights_file(settings: Encoder) -> Path:
    """The file of the weights; `imagenet` is fetched once, checksum verified, into torch's hub folder."""
    if settings.weights != "imagenet":
        return Path(settings.weights)
    target = Path(torch.hub.get_dir()) / "checkpoints" / Path(IMAGENET_URL).name
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(IMAGENET_URL, str(target), hash_prefix=_prefix(target))
        except (OSError, RuntimeError) as error:
            raise WeightsError(
                f"ImageNet weights could not be fetched from {IMAGENET_URL}: {error}. "
                f"Fetch the file elsewhere and put it at {target}, or set encoder.weights to its path"
            ) from error
    return target


def _prefix(published: Path) -> str:
    """Start of the sha256 that torchvision's published files carry in their names."""
    return published.stem.split("-")[1]


def weights_id(settings: Encoder) -> str:
    """What identifies the weights: their file's sha256, or `random:` and the seed."""
    if settings.weights == "random":
        return f"random:{settings.seed}"
    file = weights_file(settings)
    try:
        digest = file_sha256(file)
    except OSError as error:
        raise WeightsError(f"encoder.weights: {settings.weights} cannot be read: {error.strerror}") from error
    if settings.weights == "imagenet" and not digest.startswith(_prefix(file)):
        raise WeightsError(f"{file} is not torchvision's published file (its sha256 is {digest}): remove it")
    return digest


def _load(trunk: nn.Module, path: Path) -> None:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen types for files that are not its own
        raise WeightsError(f"encoder.weights: {path} is not a torch state dict: {error}") from error
    try:
        trunk.load_state_dict(
            {k: v for k, v in state.items() if not k.startswith(("layer4.", "fc."))}
        )  # what is cut off
    except (AttributeError, RuntimeError, TypeError) as error:
        raise WeightsError(f"encoder.weights: {path} is not a ResNet-50 with torchvision's names: {error}") from error


def initialise(trunk: ResNet50Trunk, seed: int) -> None:
    """Random weights from a seed, made to behave like a trained network's as far as that goes without training.

    He initialisation (arXiv 1502.01852), then batch-norm statistics measured on coloured noise: without them all tiles
    get nearly the same vector. A last threshold two standard deviations up makes features sparse, as trained ones are.
    """
    generator = torch.Generator().manual_seed(seed)
    for module in trunk.modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.in_channels * module.kernel_size[0] * module.kernel_size[1]
            module.weight.data.normal_(0, math.sqrt(2 / fan_in), generator=generator)
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # running statistics become the plain mean over calls: one call here
    with torch.no_grad():
        trunk.train()(_coloured_noise(32, 128, generator))
    last = trunk.get_submodule("layer3")[-1].bn3  # type: ignore[index]
    nn.init.constant_(last.bias, -4.0)


def _coloured_noise(count: int, size: int, generator: torch.Generator) -> Tensor:
    """Images (count, 3, size, size) with structure at all scales: noise at seven resolutions, mixed at random."""
    image = torch.zeros(count, 3, size, size)
    for scale in (2, 4, 8, 16, 32, 64, 128):
        noise = torch.randn(count, 3, size // scale, size // scale, generator=generator)
        share = torch.rand(count, 1, 1, 1, generator=generator)
        image += share * nn.functional.interpolate(noise, size=(size, size), mode="bilinear")
    return image


def fold_batch_norm(module: nn.Module) -> nn.Module:
    """Fold every batch norm into the convolution before it: the same function in evaluation mode, half the passes."""
    for (name, child), (next_name, after) in pairwise(list(module.named_children())):
        if isinstance(child, nn.Conv2d) and isinstance(after, nn.BatchNorm2d):
            setattr(module, name, fuse_conv_bn_eval(child, after))
            setattr(module, next_name, nn.Identity())
    for child in module.children():
        fold_batch_norm(child)
    return module
