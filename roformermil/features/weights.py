"""Weights of encoders: local files, or published ones that are downloaded once and verified. No code in a file is executed."""

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
    """The file of the weights; `imagenet` is downloaded once into torch's hub folder and verified. Raises WeightsError."""
    if settings.weights != "imagenet":
        return Path(str(settings.weights))
    target = Path(torch.hub.get_dir()) / "checkpoints" / Path(IMAGENET_URL).name
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(IMAGENET_URL, str(target), hash_prefix=_sha256_prefix(target))
        except (OSError, RuntimeError) as error:
            raise WeightsError(
                f"ImageNet weights could not be downloaded from {IMAGENET_URL}: {error}. "
                f"Download the file elsewhere and put it at {target.absolute()}, or set encoder.weights to its path"
            ) from error
    return target


def _sha256_prefix(published: Path) -> str:
    """The start of its sha256, which torchvision puts into a published file's name."""
    return published.stem.split("-")[1]


def weights_id(settings: Encoder, trunk: nn.Module) -> str:
    """Identifies the weights: the sha256 of their file, `random:SEED`, or for `hub` the sha256 of `trunk`'s state. Raises
    WeightsError."""
    if settings.weights == "random":
        return f"random:{settings.seed}"
    if settings.weights == "hub":
        return state_sha256(trunk.state_dict())
    file = weights_file(settings)
    try:
        digest = file_sha256(file)
    except OSError as error:
        raise WeightsError(f"encoder.weights: {file.absolute()} cannot be read: {error.strerror}") from error
    if settings.weights == "imagenet" and not digest.startswith(_sha256_prefix(file)):
        raise WeightsError(f"{file.absolute()} is not torchvision's published file (its sha256 is {digest}): remove it")
    return digest


def state_sha256(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of the names and bytes of a state dict, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def read_state(path: Path) -> dict[str, Tensor]:
    """The state dict in a .safetensors or torch file. Raises WeightsError. Code in the file is not executed."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen types for files that are not its own
        cause = f": {error}" if isinstance(error, OSError) else ""  # other errors describe torch's internals
        raise WeightsError(
            f"encoder.weights: {path.absolute()} is neither a torch state dict nor a .safetensors file{cause}"
        ) from error
