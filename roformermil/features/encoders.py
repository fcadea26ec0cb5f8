"""The frozen network that turns a tile into a vector, prepared for speed."""

import logging
import shutil
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from roformermil.config import Encoder
from roformermil.config.encoder_specs import EncoderSpec, encoder_spec
from roformermil.errors import OutOfMemoryError, WeightsError
from roformermil.features.resnet import PAPER_STAGES, STAGES, ResNet50Trunk, initialise
from roformermil.features.weights import load_weights, weights_file
from roformermil.runtime.gpus import best_device, resolve_precision
from roformermil.runtime.memory import is_memory

log = logging.getLogger(__name__)
CPU_BATCH, GPU_BATCH = 32, 128  # tiles


class TileEncoder:
    """A trunk ready for inference, on the GPU if there is one: batch norm folded into the convolutions, channels-last.

    Call it with (B, tile_px, tile_px, 3) uint8 RGB; returns (B, d) float32 on the device, which may still be computing.
    batch_size: tiles to encode at a time. trunk: by default that of `load_trunk`, which raises WeightsError.
    """

    def __init__(self, settings: Encoder, trunk: nn.Module | None = None):
        trunk = trunk or load_trunk(settings)
        self.settings, self.device = settings, best_device()
        self.on_gpu = self.device.type == "cuda"
        self.batch_size = settings.batch_size or (GPU_BATCH if self.on_gpu else CPU_BATCH)
        self._dtype = resolve_precision(settings.precision, self.device, on_gpu="fp16")
        self.precision = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}[self._dtype]
        normalisation, self._input_px = _input_format(trunk, encoder_spec(settings.name))
        self._mean, self._std = (255 * torch.tensor(values).view(3, 1, 1).to(self.device) for values in normalisation)
        trunk = fold_batch_norm(trunk.eval()).to(self.device, self._dtype)
        self._trunk = trunk.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.no_grad()
    def __call__(self, tiles: Tensor) -> Tensor:
        if self.on_gpu:
            tiles = tiles.pin_memory()  # has no effect on tiles that are in pinned memory already
        x = tiles.to(self.device, non_blocking=True).permute(0, 3, 1, 2).float()  # (B, 3, H, W), channels-last
        if self._input_px and x.shape[-1] != self._input_px:
            x = nn.functional.interpolate(x, size=self._input_px, mode="bicubic", antialias=True).clamp_(0, 255)
        x = x.sub_(self._mean).div_(self._std).to(self._dtype)
        return self._trunk(x).float()

    def start(self, tiles: Tensor) -> Callable[[], np.ndarray]:
        """Begin to encode tiles as given to a call; returns a function that waits for the features, (B, d) float16.

        Features are copied from a GPU as soon as they are computed, also where other batches began in the meantime.
        """
        features = self(tiles).half().to("cpu", non_blocking=True)  # from a GPU to pinned memory
        computed = torch.cuda.current_stream().record_event() if self.on_gpu else None

        def wait() -> np.ndarray:
            if computed:
                computed.synchronize()
            return features.numpy()

        return wait

    def prepare(self, tile_px: int) -> None:
        """Compile the trunk if the settings ask for it, and try a batch on a GPU. Raises OutOfMemoryError."""
        self._compile(tile_px)
        if not self.on_gpu:
            return
        try:
            self._encode_black(tile_px).cpu()
        except RuntimeError as error:
            if not is_memory(error):
                raise
            problem = f"the encoder needs more GPU memory than there is for {self.batch_size} tiles at a time"
            raise OutOfMemoryError(f"{problem}: lower encoder.batch_size") from error

    def _encode_black(self, tile_px: int) -> Tensor:
        return self(torch.zeros(self.batch_size, tile_px, tile_px, 3, dtype=torch.uint8))

    def _compile(self, tile_px: int) -> None:
        """Compile the trunk if the settings ask for it: half a minute the first time, seconds with torch's cache. Where
        that fails it stays uncompiled: with `always` the compiler's error is raised, with `auto` it is a warning."""
        mode, plain = self.settings.compile, self._trunk
        can_compile = not self.on_gpu and any(map(shutil.which, ("c++", "g++", "clang++")))
        if mode == "never" or (mode == "auto" and not can_compile):
            return
        try:
            with torch._inductor.config.patch(freezing=True):  # lay out weights for the convolutions in advance
                self._trunk = torch.compile(plain, dynamic=False)
                self._encode_black(tile_px)
        except Exception as error:
            self._trunk = plain
            if mode == "always":
                raise
            log.warning("the encoder runs uncompiled, at two thirds of the speed: %s", str(error).splitlines()[0])


def _input_format(trunk: nn.Module, spec: EncoderSpec) -> tuple[tuple[tuple[float, ...], tuple[float, ...]], int]:
    """Mean and standard deviation of R, G, B in 0..1, and the side in pixels that the network requires (0: any)."""
    if spec.hub or not spec.architecture:
        return spec.normalisation, spec.tile_px if spec.hub else 0
    config: Any = trunk.pretrained_cfg  # timm's
    fixed = config.get("fixed_input_size") or hasattr(trunk, "patch_embed")  # its position embeddings fit one size
    return (tuple(config["mean"]), tuple(config["std"])), config["input_size"][-1] if fixed else 0


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
        cut_off = ("fc.", *(f"layer{k}." for k in range(stages + 1, len(STAGES) + 1)))
        load_weights(trunk, weights_file(settings), cut_off, network="a ResNet-50 with torchvision's names")
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
