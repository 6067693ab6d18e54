"""The optimizer that most roles share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn


def adamw(
    parameters: Iterable[nn.Parameter],
    recipe: Mapping[str, Any],
    learning_rate: float,
    *,
    fused: bool = False,
) -> torch.optim.Optimizer:
    """AdamW that does not decay gains, biases, temperatures and embeddings of single tokens.

    Args:
        recipe: has ``betas`` and ``weight_decay``.
        fused: PyTorch's one-pass form, whose last bits differ from the plain one's.
    """
    trained = [p for p in parameters if p.requires_grad]
    decayed = [p for p in trained if p.ndim > 1 and len(p) > 1]
    others = [p for p in trained if p.ndim <= 1 or len(p) <= 1]
    groups = [
        {"params": decayed, "weight_decay": recipe["weight_decay"]},
        {"params": others, "weight_decay": 0.0},
    ]
    # None, not False: on a GPU PyTorch then still chooses its own fast form.
    form = True if fused else None
    return torch.optim.AdamW(groups, lr=learning_rate, betas=recipe["betas"], fused=form)
