"""ResNet-50 (He et al. 2016, arXiv 1512.03385) with torchvision's names and strides. The paper uses the first three
stages, 1024 values per tile (section 3.2, as in CLAM)."""

import math
from collections import OrderedDict

import torch
from torch import Tensor, nn

STAGES = ((3, 64, 1), (4, 128, 2), (6, 256, 2), (3, 512, 2))  # blocks, width, stride of layer1 to layer4
PAPER_STAGES = 3  # the paper cuts ResNet-50 off after layer3


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut; the 3x3 has the stride, as in torchvision. (B, channels, H, W)
    -> (B, 4 * width, H / stride, W / stride)."""

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
            convolution = nn.Conv2d(channels, 4 * width, 1, stride, bias=False)
            self.downsample = nn.Sequential(convolution, nn.BatchNorm2d(4 * width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        return self.relu(self.bn3(self.conv3(y)) + self.downsample(x))


class ResNet50Trunk(nn.Sequential):
    """The first `stages` of ResNet-50 and global average pooling: (B, 3, H, W) normalised RGB -> (B, 1024) after three
    stages, (B, 2048) after four."""

    def __init__(self, stages: int = PAPER_STAGES) -> None:
        parts: OrderedDict[str, nn.Module] = OrderedDict(
            conv1=nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False),
            bn1=nn.BatchNorm2d(64),
            relu=nn.ReLU(inplace=True),
            maxpool=nn.MaxPool2d(3, stride=2, padding=1),
        )
        channels = 64
        for number, (blocks, width, stride) in enumerate(STAGES[:stages], start=1):
            others = (Bottleneck(4 * width, width, 1) for _ in range(blocks - 1))
            parts[f"layer{number}"] = nn.Sequential(Bottleneck(channels, width, stride), *others)
            channels = 4 * width
        super().__init__(parts)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).mean(dim=(2, 3))


def initialise(trunk: ResNet50Trunk, seed: int) -> None:
    """Fill the trunk with random weights that behave like trained ones, as far as possible without training.

    He initialisation (arXiv 1502.01852), then batch-norm statistics measured on coloured noise: without them all tiles
    get nearly the same vector. The last bias, two standard deviations down, makes features sparse, as trained ones are.
    """
    generator = torch.Generator().manual_seed(seed)
    for module in trunk.modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.in_channels * module.kernel_size[0] * module.kernel_size[1]
            module.weight.data.normal_(0, math.sqrt(2 / fan_in), generator=generator)
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # running statistics become those of the one call below
    with torch.no_grad():
        trunk.train()(_coloured_noise(32, 128, generator))
    nn.init.constant_(list(trunk.children())[-1][-1].bn3.bias, -4.0)  # type: ignore[index]


def _coloured_noise(count: int, size: int, generator: torch.Generator) -> Tensor:
    """Images (count, 3, size, size) with structure at all scales: noise at seven resolutions in random proportions."""
    image = torch.zeros(count, 3, size, size)
    for scale in (2, 4, 8, 16, 32, 64, 128):
        noise = torch.randn(count, 3, size // scale, size // scale, generator=generator)
        proportion = torch.rand(count, 1, 1, 1, generator=generator)
        image += proportion * nn.functional.interpolate(noise, size=size, mode="bilinear")
    return image
