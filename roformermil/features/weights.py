"""Weights of encoders: local files, or published ones, downloaded once and verified. No code in a file is executed."""

import hashlib
import os
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from roformermil.config import Encoder
from roformermil.errors import WeightsError
from roformermil.runtime.files import file_sha256

OFFLINE = "HF_HUB_OFFLINE"  # the hub's own variable: 1 where nothing may be downloaded
# torchvision's ResNet50_Weights.IMAGENET1K_V1; the file's name carries the start of its sha256
IMAGENET_URL = "https://download.pytorch.org/models/resnet50-0676ba61.pth"


def imagenet_file() -> Path:
    """Where torchvision's published file is kept, once downloaded."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(IMAGENET_URL).name


def weights_file(settings: Encoder) -> Path:
    """The weights' file; `imagenet` is downloaded once into torch's hub folder and verified, unless OFFLINE. Raises
    WeightsError."""
    if settings.weights != "imagenet":
        return Path(str(settings.weights))
    target = imagenet_file()
    if not target.exists():
        if os.environ.get(OFFLINE) == "1":
            raise WeightsError(f"no file at {target.absolute()}, and jobs download nothing: {WeightsError.download}")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(IMAGENET_URL, str(target), hash_prefix=_sha256_prefix(target))
        except (OSError, RuntimeError) as error:
            remedy = (
                f"download the file elsewhere and put it at {target.absolute()}, or set encoder.weights to its path"
            )
            raise WeightsError(f"{IMAGENET_URL} could not be downloaded ({error}); {remedy}") from error
    return target


def _sha256_prefix(published: Path) -> str:
    return published.stem.split("-")[1]  # torchvision's names are NAME-PREFIX.pth


def weights_id(settings: Encoder, trunk: nn.Module) -> str:
    """SHA-256 of the weights' file, `random:SEED`, for `hub` the SHA-256 of the trunk's state. Raises WeightsError."""
    if settings.weights == "random":
        return f"random:{settings.seed}"
    if settings.weights == "hub":
        state_digest = hashlib.sha256()
        for name, values in sorted(trunk.state_dict().items()):
            state_digest.update(name.encode())
            state_digest.update(values.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        return state_digest.hexdigest()
    file = weights_file(settings)
    try:
        digest = file_sha256(file)
    except OSError as error:
        raise WeightsError(f"encoder.weights: {file.absolute()} cannot be read: {error.strerror}") from error
    if settings.weights == "imagenet" and not digest.startswith(_sha256_prefix(file)):
        problem = f"{file.absolute()} is not torchvision's published file (its sha256 is {digest})"
        raise WeightsError(f"{problem}: remove it; {WeightsError.download}")
    return digest


def _read_state(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)  # executes no code
    except Exception as error:  # torch raises a dozen types for files that are not its own
        cause = f": {error}" if isinstance(error, OSError) else ""  # other errors describe torch's internals
        problem = f"{path.absolute()} is neither a torch state dict nor a .safetensors file{cause}"
        raise WeightsError(f"encoder.weights: {problem}") from error


def load_weights(trunk: nn.Module, path: Path, ignored: tuple[str, ...], network: str) -> None:
    """Load a file of the weights of `network`, but no names that start with `ignored` and that the trunk lacks. Raises
    WeightsError."""
    known = trunk.state_dict()
    try:
        state = {k: v for k, v in _read_state(path).items() if k in known or not k.startswith(ignored)}
        trunk.load_state_dict(state)
    except (AttributeError, RuntimeError, TypeError) as error:
        raise WeightsError(f"encoder.weights: {path.absolute()} does not fit {network}: {error}") from error
