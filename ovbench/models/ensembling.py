"""Queries embedded by many prompts each, by networks whose texts nobody keeps in a cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ovbench.harness.contract.progress import progress

TEXT_BATCH = 256
"""Texts per forward pass."""


def ensembled(
    embed: Callable[[list[str]], Tensor],
    queries: Sequence[str],
    templates: Sequence[str],
    *,
    unit: bool,
) -> Tensor:
    """The mean over the templates' embeddings, of unit length, ``(n, d)``.

    Args:
        embed: from texts to ``(t, d)``, of any length.
        queries: such as ``"cat"``.
        templates: prompts with ``{}`` for the query.
        unit: whether embeddings are brought to unit length before their mean.
    """
    prompts = [template.format(query) for query in queries for template in templates]
    parts = []
    with progress("texts embedded", len(prompts)) as advance:
        for start in range(0, len(prompts), TEXT_BATCH):
            parts.append(embed(prompts[start : start + TEXT_BATCH]))
            advance(len(parts[-1]))
    joint = torch.cat(parts)
    if unit:
        joint = functional.normalize(joint, dim=-1)
    mean = joint.reshape(len(queries), len(templates), -1).mean(dim=1)
    return functional.normalize(mean, dim=-1)
