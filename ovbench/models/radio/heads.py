"""RADIO's heads: from its own features to those of a teacher.

Ranzinger et al., "AM-RADIO: Agglomerative Vision Foundation Model" (CVPR 2024); released code:
github.com/NVlabs/RADIO, radio/adaptor_mlp.py.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional


class Head(nn.Module):
    """Linear, residual blocks, LayerNorm, GELU, linear: ``MLP2``, by the authors' names.

    Args:
        width: of RADIO's features.
        hidden: width within.
        out: of the teacher's features.
        inner: number of residual blocks.

    Attributes:
        width: of the teacher's features.
    """

    def __init__(self, width: int, hidden: int, out: int, inner: int = 0) -> None:
        super().__init__()
        self.width = out
        self.fc1 = nn.Linear(width, hidden)
        self.blocks = nn.ModuleList(_step(hidden, hidden) for _ in range(inner))
        self.final = _step(hidden, out)

    def forward(self, features: Tensor) -> Tensor:
        """``(..., width)`` to ``(..., out)``."""
        hidden = self.fc1(features)
        for block in self.blocks:
            hidden = hidden + block(hidden)
        mapped: Tensor = self.final(hidden)
        return mapped


def _step(hidden: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(hidden), nn.GELU(), nn.Linear(hidden, out))


def head_for(weights: Mapping[str, Tensor]) -> Head | None:
    """An untrained head of the sizes and the depth of weights by name; None if they are of none."""
    if not {"fc1.weight", "final.2.weight"} <= weights.keys():
        return None
    hidden, width = weights["fc1.weight"].shape
    blocks = {name.split(".")[1] for name in weights if name.startswith("blocks.")}
    return Head(width, hidden, len(weights["final.2.weight"]), len(blocks))


_WRAPPED = ".parametrizations.weight."
_LEAST = 0.05
"""``alpha``, that the softplus of what was learned is above."""
_SHARES = 3
"""Of an attention's rows: queries, keys and values."""


def settled(weights: Mapping[str, Tensor], eps: float = 1e-6) -> dict[str, Tensor]:
    """Weights as they are used, of layers whose spectral norm was learned beside them.

    RADIO is trained so, and its loader settles them once (radio/enable_spectral_reparam.py). It
    estimates the norm by one more step of the power method, as its modules are in training then.

    Args:
        weights: by name; those that stand for themselves stay.
        eps: that the norm was estimated with.
    """
    found = {name: one for name, one in weights.items() if _WRAPPED not in name}
    layers: dict[str, dict[str, Tensor]] = {}
    for name, one in weights.items():
        if _WRAPPED in name:
            layer, _, part = name.partition(_WRAPPED)
            layers.setdefault(layer, {})[part] = one.float()
    for layer, parts in layers.items():
        weight = parts["original"]
        if "0.scale" in parts:
            weight = _rescaled(weight, parts, "0.", eps)
        else:  # values may have been left alone
            shares = enumerate(weight.chunk(_SHARES))
            weight = torch.cat([_rescaled(s, parts, f"0.parts.{i}.", eps) for i, s in shares])
        found[f"{layer}.weight"] = weight
    return found


def _rescaled(weight: Tensor, parts: Mapping[str, Tensor], prefix: str, eps: float) -> Tensor:
    learned = parts.get(f"{prefix}scale")
    if learned is None:
        return weight
    left = functional.normalize(weight.mv(parts[f"{prefix}_v"]), dim=0, eps=eps)
    right = functional.normalize(weight.mT.mv(left), dim=0, eps=eps)
    norm = left.dot(weight.mv(right)) + eps
    version = parts.get(f"{prefix}_sn_version")
    first = version is None or int(version) == 1
    wanted = learned if first else functional.softplus(learned) + _LEAST
    return weight * (wanted / norm)
