"""Whether what the settings need is there: packages, files and weights."""

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from roformermil.bags.folds import given_folds
from roformermil.check.problems import Problem, locate, raised
from roformermil.config import Config
from roformermil.config.encoder_specs import encoder_spec
from roformermil.config.runtime import cache_variables

REQUEST_SECONDS = 5.0  # for a server to answer


def check_software(config: Config) -> Iterator[Problem]:
    """Whether the optional packages that the settings need are installed."""
    needed = []
    if config.tissue.needs_tiatoolbox:
        needed.append((f"tissue.method {config.tissue.method}", "tiatoolbox"))
    if encoder_spec(config.encoder.name).architecture:
        needed.append((f"encoder {config.encoder.name}", "timm"))
    for user, package in needed:
        if not find_spec(package):
            yield Problem("warning", f"{user} needs {package}, which is not installed here: `make tiatoolbox`")


def check_files(config: Config) -> Iterator[Problem]:
    """Whether the files that the configuration names exist: weights and given folds."""
    files = [("encoder.weights", config.encoder.weights_path), ("tissue.weights", config.tissue.weights)]
    files += [("folds.path", given_folds(name, config.folds)) for name in config.trained_datasets]
    for key, path in dict.fromkeys(files):
        if path and not path.is_file():
            yield Problem("error", f"{key}: no file at {locate(path)}")


def check_weights(config: Config) -> Iterator[Problem]:
    """Whether the encoder's weights can be loaded or downloaded."""
    if config.encoder.weights in (None, "random", "hub"):
        return
    os.environ |= cache_variables(config.runtime.weights)
    from roformermil.features.encoders import load_trunk  # torch
    from roformermil.features.weights import imagenet_file

    if not (config.encoder.weights_path or imagenet_file()).is_file():
        if config.encoder.weights == "imagenet":
            yield from _check_download(imagenet_file())
    elif not encoder_spec(config.encoder.name).architecture or find_spec("timm"):
        yield from raised("", load_trunk, config.encoder)


def _check_download(target: Path) -> Iterator[Problem]:
    """Whether the published weights, which are not at `target` yet, can be downloaded."""
    import requests

    from roformermil.features.weights import IMAGENET_URL

    try:
        requests.head(IMAGENET_URL, timeout=REQUEST_SECONDS, allow_redirects=True).raise_for_status()
    except requests.RequestException as error:
        problem = f"imagenet is not downloaded yet, and {IMAGENET_URL} cannot be reached ({type(error).__name__})"
        remedy = f"put that file at {target}, or set encoder.weights to its path"
        yield Problem("error", f"encoder.weights: {problem}: {remedy}")
