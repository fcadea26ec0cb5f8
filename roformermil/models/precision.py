"""The arithmetic of training and prediction."""

import torch


def precision_of(wanted: str, device: torch.device) -> torch.dtype:
    """The arithmetic that `training.precision` asks for on a device."""
    if wanted == "auto":
        return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float32
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[wanted]


def autocast(device: torch.device, precision: torch.dtype) -> torch.autocast:
    """Mixed precision, or none for float32."""
    return torch.autocast(device.type, precision, enabled=precision != torch.float32)
