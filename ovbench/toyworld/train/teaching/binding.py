"""An auxiliary loss that ties a word's cross-attention to where its class is in the picture."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

LEAST_PLACES = 64
"""Maps with fewer locations are too coarse to say where something is."""


class KeepCrossAttention:
    """An attention processor for ``attn2`` that keeps the probabilities of the last forward.

    Attributes:
        kept: one ``(B, places, tokens)`` per layer, averaged over the heads; whoever reads
            them empties the list.
    """

    def __init__(self) -> None:
        self.kept: list[Tensor] = []

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        """The attention's output, ``(B, places, width)``."""
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            layer(x).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for layer, x in ((attn.to_q, hidden_states), (attn.to_k, context), (attn.to_v, context))
        )
        shares = (query @ key.mT * attn.scale).float().softmax(dim=-1)
        if shares.shape[2] >= LEAST_PLACES:
            self.kept.append(shares.mean(dim=1))
        mixed: Tensor = (shares.to(value.dtype) @ value).transpose(1, 2).flatten(2)
        for layer in attn.to_out:
            mixed = layer(mixed)
        return mixed


def stray_mass(kept: list[Tensor], words: Tensor, regions: Tensor, weight: Tensor) -> Tensor:
    """The share of each class word's attention that lies outside the class's region.

    Args:
        kept: from :class:`KeepCrossAttention`.
        words: ``(B, classes, tokens)``, 1 where the token is the class's word.
        regions: ``(B, classes, h, w)``, 1 where the picture shows the class.
        weight: ``(B,)`` of each picture.
    """
    named = words.any(dim=-1)
    counted = named * weight[:, None]
    losses = []
    for shares in kept:
        side = round(shares.shape[1] ** 0.5)
        mass = torch.einsum("bpt,bct->bcp", shares, words.float())
        place = functional.adaptive_avg_pool2d(regions, side).flatten(2)
        inside = (mass * place).sum(dim=-1) / mass.sum(dim=-1).clamp_min(1e-6)
        losses.append(((1 - inside) * counted).sum() / named.sum().clamp_min(1))
    return torch.stack(losses).mean()
