"""RADSeg's two ways of letting like places speak for each other.

Alama et al., "RADSeg: Unleashing Parameter and Compute Efficient Zero-Shot Open-Vocabulary
Segmentation Using Agglomerative Models" (2025); released code: github.com/RADSeg-OVSS/RADSeg,
radseg/radseg.py.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

ROWS = 4096
"""Places that gather together: with 14,112 of them in a picture, 230 MB of cosines in float32."""


def self_correlating_attention(attention: Any, tokens: Tensor, scale: float = 10.0) -> Tensor:
    """Attention, and once more by how alike its own answers are: SCRA.

    Args:
        attention: ``q_proj``, ``k_proj``, ``v_proj``, ``o_proj`` and ``num_attention_heads``, as
            transformers' ``RadioAttention`` has them.
        tokens: ``(B, n, width)``, normalised.
        scale: on the cosines of answers, of each head by itself; negative ones do not count.

    Returns:
        ``(B, n, width)``.
    """
    heads = int(attention.num_attention_heads)

    def apart(rows: Tensor) -> Tensor:
        return rows.reshape(*rows.shape[:2], heads, -1).transpose(1, 2)

    def together(parts: Tensor) -> Tensor:
        joined: Tensor = attention.o_proj(parts.transpose(1, 2).flatten(2))
        return joined

    projections = (attention.q_proj, attention.k_proj, attention.v_proj)
    query, key, value = (apart(projection(tokens)) for projection in projections)
    answers = together(functional.scaled_dot_product_attention(query, key, value))
    unit = functional.normalize(apart(answers), dim=-1)
    return together(_gathered(unit @ unit.mT * scale) @ value)


def self_correlating_aggregation(features: Tensor, scale: float = 10.0) -> Tensor:
    """Every place's feature from all places that are more alike than the mean: SCGA.

    Args:
        features: ``(B, d, h, w)``; the mean is over all places of all of them, as released.
        scale: on the cosines above their mean.

    Returns:
        ``(B, d, h, w)``.
    """
    rows = features.flatten(2).mT
    unit = functional.normalize(rows, dim=-1)
    # The mean of all cosines is the squared length of the mean direction.
    mean = unit.mean(dim=1).square().sum(dim=1).mean()
    portions = torch.split(unit, ROWS, dim=1)
    parts = [_gathered((some @ unit.mT - mean) * scale) @ rows for some in portions]
    return torch.cat(parts, dim=1).mT.reshape(features.shape)


def _gathered(likeness: Tensor) -> Tensor:
    return likeness.masked_fill(likeness < 0, -torch.inf).softmax(dim=-1)
