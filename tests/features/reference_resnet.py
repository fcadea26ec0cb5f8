"""ResNet-50 to layer3 written out from torchvision's names and strides; it shares only the state dict with the package."""

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, conv2d, max_pool2d


def reference_features(trunk: nn.Module, tiles: Tensor) -> Tensor:
    """Features (B, 1024) of tiles (B, H, W, 3) uint8."""
    state = trunk.state_dict()

    def conv_norm(x, conv, norm, stride=1, padding=0):
        x = conv2d(x, state[f"{conv}.weight"], stride=stride, padding=padding)
        return batch_norm(x, *(state[f"{norm}.{name}"] for name in ("running_mean", "running_var", "weight", "bias")))

    x = tiles.permute(0, 3, 1, 2).contiguous() / 255
    x = (x - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    x = max_pool2d(conv_norm(x, "conv1", "bn1", stride=2, padding=3).relu(), 3, stride=2, padding=1)
    for layer, blocks in ((1, 3), (2, 4), (3, 6)):
        for block in range(blocks):
            name, stride = f"layer{layer}.{block}", 2 if layer > 1 and block == 0 else 1
            y = conv_norm(x, f"{name}.conv1", f"{name}.bn1").relu()
            y = conv_norm(y, f"{name}.conv2", f"{name}.bn2", stride=stride, padding=1).relu()
            y = conv_norm(y, f"{name}.conv3", f"{name}.bn3")
            if block == 0:
                x = conv_norm(x, f"{name}.downsample.0", f"{name}.downsample.1", stride=stride)
            x = (x + y).relu()
    return x.mean(dim=(2, 3))
