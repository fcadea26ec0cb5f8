"""ResNet-50 (He et al. 2016, arXiv 1512.03385) with torchvision's names and strides. The paper takes it after its third
stage, 1024 values a tile (section 3.2, as in CLAM)."""

import math
from collections import OrderedDict

import torch
from torch import Tensor, nn

STAGES = ((3, 64, 1), (4, 128, 2), (6, 256, 2), (3, 512, 2))  # blocks, width, stride of layer1 to layer4
PAPER = 3  # stages


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
    """ResNet-50 through its first stages and global average pooling: (B, 3, H, W) normalised -> (B, 1024), 2048 of four."""

    def __init__(self, stages: int = PAPER) -> None:
        parts: OrderedDict[str, nn.Module] = OrderedDict(
            conv1=nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False),
            bn1=nn.BatchNorm2d(64),
            relu=nn.ReLU(inplace=True),
            maxpool=nn.MaxPool2d(3, stride=2, padding=1),
        )
        channels = 64
        for number, (blocks, width, stride) in enumerate(STAGES[:stages], start=1):
            stage = [Bottleneck(channels, width, stride)]
            channels = 4 * width
            stage += [Bottleneck(channels, width, 1) for _ in range(blocks - 1)]
            parts[f"layer{number}"] = nn.Sequential(*stage)
        super().__init__(parts)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).mean(dim=(2, 3))


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
    last = list(trunk.children())[-1][-1].bn3  # type: ignore[index]
    nn.init.constant_(last.bias, -4.0)


def _coloured_noise(count: int, size: int, generator: torch.Generator) -> Tensor:
    """Images (count, 3, size, size) with structure at all scales: noise at seven resolutions, mixed at random."""
    image = torch.zeros(count, 3, size, size)
    for scale in (2, 4, 8, 16, 32, 64, 128):
        noise = torch.randn(count, 3, size // scale, size // scale, generator=generator)
        share = torch.rand(count, 1, 1, 1, generator=generator)
        image += share * nn.functional.interpolate(noise, size=(size, size), mode="bilinear")
    return image
