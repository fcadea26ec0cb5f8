"""Parameters of the paper's released implementation, under the names used there."""

import re
from collections.abc import Mapping
from typing import Any

import torch

from roformermil.errors import WeightsError
from roformermil.models.build import MILModel
from roformermil.models.rope import DirectedRotaryEncoding, axis_frequencies

# pattern of a released name -> name here, from the pattern's groups
NAMES = {
    r"dim_reduction_projection\.(.*)": "project.{0}",
    r"positional_encoding\.attention_blocks\.(\d+)\.ln_1\.(.*)": "blocks.{0}.norm1.{1}",
    r"positional_encoding\.attention_blocks\.(\d+)\.ln_2\.(.*)": "blocks.{0}.norm2.{1}",
    r"positional_encoding\.attention_blocks\.(\d+)\.attn\.input_projection\.(.*)": "blocks.{0}.attention.qkv.{1}",
    r"positional_encoding\.attention_blocks\.(\d+)\.attn\.output_projection\.(.*)": "blocks.{0}.attention.out.{1}",
    r"positional_encoding\.attention_blocks\.(\d+)\.mlp\.c_fc\.(.*)": "blocks.{0}.mlp.widen.{1}",
    r"positional_encoding\.attention_blocks\.(\d+)\.mlp\.c_proj\.(.*)": "blocks.{0}.mlp.narrow.{1}",
    r"mil_head\.input_projection\.0\.(.*)": "head.project.0.{0}",
    r"mil_head\.attention_net\.class_tokens": "head.queries",
    r"mil_head\.attention_net\.keys_projection\.(.*)": "head.keys.{0}",
    r"mil_head\.attention_net\.values_projection\.(.*)": "head.values.{0}",
    r"mil_head\.attention_net\.output_projection\.(.*)": "head.out.{0}",
    r"mil_head\.bag_classifiers\.(\d+)\.(.*)": "head.classifiers.{1}",  # one layer per class there, one row per class here
    r"mil_head\.patch_classifier\.fc\.0\.(.*)": "head.instances.{0}",
    r"mil_head\.attention_net\.q\.(\d+)\.(.*)": "head.query.{0}.{1}",
    r"mil_head\.attention_net\.fcc\.(.*)": "head.classifier.{0}",
}


def load_reference_parameters(model: MILModel, parameters: Mapping[str, Any]) -> None:
    """Load parameters (arrays or tensors) named as in the released implementation into `model`.

    The release has the frequencies of `pixel` or `lang`; `isotropic` and `learned` ones become those of `pixel`, the paper's.
    Raises WeightsError for `mixed` ones, a name that the release does not have, a wrong shape, or a missing parameter.
    """
    if model.settings.rope_frequencies == "mixed":
        raise WeightsError("the release has no rope_frequencies: mixed; use pixel or lang")
    state: dict[str, torch.Tensor] = {}
    for name in sorted(parameters, key=_natural_order):
        key, value = _translate(name), torch.as_tensor(parameters[name])
        if key == "head.queries":
            value = value.squeeze(0)
        state[key] = torch.cat([state[key], value]) if key in state else value
    for name, module in model.named_modules():
        if isinstance(module, DirectedRotaryEncoding):
            state[f"{name}.directions"] = module.along_axes(axis_frequencies(module.directions.shape[-1] // 2, "pixel"))
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsError(f"these parameters do not fit the model: {error}") from error


def _translate(name: str) -> str:
    for pattern, target in NAMES.items():
        if match := re.fullmatch(pattern, name):
            return target.format(*match.groups())
    raise WeightsError(f"{name}: no such parameter in the released implementation")


def _natural_order(name: str) -> list[tuple[int, str]]:
    """A sort key that puts class 2 before class 10."""
    return [(int(part) if part.isdigit() else -1, part) for part in name.split(".")]
