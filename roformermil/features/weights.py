"""Weights of encoders: local files first, published ones fetched once and verified; nothing in a file is executed."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from roformermil.config import Encoder
from roformermil.errors import WeightsError
from roformermil.runtime.files import file_sha256

# torchvision's ResNet50_Weights.IMAGENET1K_V1; the file's name carries the start of its sha256
IMAGENET_URL = "https://download.pytorch.org/models/resnet50-0676ba61.pth"


def weights_file(settings: Encoder) -> Path:
    """The file of the weights; `imagenet` is fetched once, checksum verified, into torch's hub folder."""
    if settings.weights != "imagenet":
        return Path(str(settings.weights))
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


def weights_id(settings: Encoder, trunk: nn.Module) -> str:
    """What identifies the weights: their file's sha256, `random:` and the seed, or the sha256 of what the hub sent."""
    if settings.weights == "random":
        return f"random:{settings.seed}"
    if settings.weights == "hub":
        return state_sha256(trunk.state_dict())
    file = weights_file(settings)
    try:
        digest = file_sha256(file)
    except OSError as error:
        raise WeightsError(f"encoder.weights: {settings.weights} cannot be read: {error.strerror}") from error
    if settings.weights == "imagenet" and not digest.startswith(_prefix(file)):
        raise WeightsError(f"{file} is not torchvision's published file (its sha256 is {digest}): remove it")
    return digest


def state_sha256(state: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def read_state(path: Path) -> dict[str, Tensor]:
    """A state dict from a .safetensors or a torch file. Raises WeightsError; code in the file does not run."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen types for files that are not its own
        said = f": {error}" if isinstance(error, OSError) else ""  # what else torch says is of its own inside
        raise WeightsError(
            f"encoder.weights: {path} is not a file of weights (a torch state dict, or .safetensors){said}"
        ) from error
