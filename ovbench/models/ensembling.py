"""Queries embedded by many prompts each: once for all methods, as the cache keeps the answers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from ovbench.harness.files.cache import remembered_in_turn
from ovbench.harness.files.code import code_of
from ovbench.models.weights.content import bytes_of, content_of, surroundings

TEXT_BATCH = 256
"""Texts per forward pass: about 1 GiB of activations in the largest text towers."""


@dataclass(frozen=True, slots=True)
class TextTower:
    """The part of a frozen network that texts pass.

    Attributes:
        tokens: from texts to what the tower takes, one row or more for every text.
        embed: from these to ``(t, d)``, of any length, on any device.
        network: all modules that ``embed`` calls.
        without: those of its modules that no text passes.
    """

    tokens: Callable[[list[str]], Sequence[Tensor]]
    embed: Callable[..., Tensor]
    network: nn.Module
    without: Collection[str] = ()

    def identity(self) -> dict[str, Any]:
        """What decides the embedding of tokens, to the last bit."""
        return {
            # Of what lies in memory: a name, a path or a record may outlive what it stood for.
            "network": content_of(self.network, self.without),
            "encoder": code_of(self.embed),
            **surroundings(next(self.network.parameters()).device),
        }


def ensembled(
    tower: TextTower,
    queries: Sequence[str],
    templates: Sequence[str],
    *,
    unit: bool,
    length: bool = False,
) -> Tensor:
    """The mean over the templates' embeddings, of unit length unless its length is asked for.

    85 templates of 171 names take minutes on a CPU. They are computed and kept by as many queries
    as go through the tower at a time, so that what is kept is what would be computed, to the last
    bit: a sum rounds by what else is in its batch.

    Args:
        queries: such as ``"cat"``; equal ones are computed once.
        templates: prompts with ``{}`` for the query.
        unit: whether embeddings are brought to unit length before their mean.
        length: whether the mean keeps the length it has.

    Returns:
        ``(n, d)`` float32, on the CPU.
    """
    place = {query: i for i, query in enumerate(dict.fromkeys(queries))}
    unique, together = list(place), max(1, TEXT_BATCH // len(templates))
    pieces = [unique[i : i + together] for i in range(0, len(unique), together)]
    prompts = [[t.format(query) for query in piece for t in templates] for piece in pieces]
    tokens = [tower.tokens(texts) for texts in prompts]

    def build(index: int) -> dict[str, npt.NDArray[np.float32]]:
        joint = tower.embed(*tokens[index]).float()
        if unit:
            joint = functional.normalize(joint, dim=-1)
        mean = joint.reshape(len(pieces[index]), len(templates), -1).mean(dim=1)
        return {
            "embeddings": (mean if length else functional.normalize(mean, dim=-1)).cpu().numpy()
        }

    same = {"tower": tower.identity(), "templates": list(templates), "unit": unit}
    same |= {"length": True} if length else {}
    keys = [
        {**same, "queries": piece, "tokens": _digest(rows)}
        for piece, rows in zip(pieces, tokens, strict=True)
    ]
    sizes = [len(texts) for texts in prompts]
    found = remembered_in_turn("texts", keys, build, title="texts embedded", sizes=sizes)
    embedded = np.concatenate([piece["embeddings"] for piece in found])
    return torch.from_numpy(embedded[[place[query] for query in queries]])


def _digest(tokens: Sequence[Tensor]) -> str:
    """Of what the tower sees: by it a changed tokenizer is noticed, whatever it is."""
    digest = hashlib.sha256()
    for rows in tokens:
        digest.update(f"{rows.dtype} {tuple(rows.shape)}\n".encode() + bytes_of(rows))
    return digest.hexdigest()
