"""Weights as they are shipped."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save
from torch import Tensor, nn


def save_half(state: Mapping[str, Tensor], path: Path) -> Path:
    """Write a state in half precision as safetensors, its folder included; returns ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    halves = {name: value.half().contiguous().cpu() for name, value in state.items()}
    path.write_bytes(save(halves, metadata={"format": "pt"}))
    return path


def millions(model: nn.Module) -> str:
    """The number of parameters, such as ``"0.95 M"``."""
    return f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M"
