"""Attention inside one pass over pictures: of places to words by size, and of places to places.

What DiffSegmenter (Wang et al., arXiv:2309.02773) reads of Stable Diffusion.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ovbench.models.diffusion.attention import by_head, reading_along, token_probabilities
from ovbench.models.diffusion.features import find_grid


class Looking:
    """What a U-Net looked at in a pass.

    Maps lie on the grid of the finest layer at which places attend to places: at 512 pixels in
    Stable Diffusion 1.x that is the grid of its latents, 64x64.
    """

    def __init__(self, positions: Sequence[Sequence[int]], latent_size: tuple[int, int]) -> None:
        """Nothing was looked at yet.

        Args:
            positions: per picture of the pass the wanted tokens, at least one; several count as
                their mean.
            latent_size: height and width.
        """
        longest = max(map(len, positions))
        # Where there are fewer tokens, the last one weighs nothing when it is there again.
        self._tokens = torch.tensor([[*p, *[p[-1]] * (longest - len(p))] for p in positions])
        self._shares = torch.tensor(
            [[1 / len(p)] * len(p) + [0.0] * (longest - len(p)) for p in positions]
        )
        self._size = latent_size
        self._words: dict[int, list[Tensor]] = {}
        self._places: dict[int, list[tuple[Tensor, Tensor, float]]] = {}

    @contextmanager
    def listening(self, unet: Any) -> Iterator[None]:
        """Read along with the forward pass of a U-Net in this context, all of whose batch counts.

        What the U-Net computes is left as it is.
        """
        found = {name: m for name, m in unet.named_modules() if hasattr(m, "is_cross_attention")}
        with reading_along(found, self._add):
            yield

    def _add(self, _name: str, attention: Any, query: Tensor, key: Tensor) -> None:
        grid, reduction = find_grid(query.shape[1], self._size)
        if attention.is_cross_attention:
            maps = token_probabilities(attention, query, key, self._tokens)
            maps = torch.einsum("nthp,nt->nhp", maps, self._shares.to(maps.device))
            self._words.setdefault(reduction, []).append(maps.reshape(*maps.shape[:2], *grid))
        elif reduction <= min(self._places, default=reduction):  # only the finest is asked for
            kept = (by_head(attention, query), by_head(attention, key), float(attention.scale))
            self._places = {reduction: [*self._places.get(reduction, []), kept]}

    @property
    def words(self) -> Mapping[int, Tensor]:
        """How much of their attention places pay to the wanted tokens.

        Returns:
            From the coarsest layers to the finest, by how many times coarser they are than the
            latents: the mean over the layers of a size and all their heads, ``(B, h, w)`` float32.
        """
        return {
            reduction: torch.cat(self._words[reduction], dim=1).mean(dim=1)
            for reduction in sorted(self._words, reverse=True)
        }

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of what :meth:`spread` takes.

        Raises:
            ValueError: nothing attends to itself.
        """
        if not self._places:
            raise ValueError("no layer has self-attention")
        ((query, _, _), *_) = next(iter(self._places.values()))
        return find_grid(query.shape[2], self._size)[0]

    def spread(self, maps: Tensor) -> Tensor:
        """Let every place have the mean of a map over the places that it attends to.

        The attention is the mean over layers and heads; since it is applied to a map, that of one
        head at a time is in memory, 64 MiB for 64x64 places.

        Args:
            maps: ``(B, h, w)`` float32 on :attr:`grid`, of the pass's pictures.

        Returns:
            The same shape.
        """
        (layers,) = self._places.values()
        flat = maps.flatten(1)
        total = torch.zeros_like(flat)
        for query, key, scale in layers:
            for picture, values in enumerate(flat):
                for asks, answers in zip(query[picture] * scale, key[picture], strict=True):
                    total[picture] += (asks @ answers.mT).softmax(dim=-1) @ values
        heads = sum(query.shape[1] for query, _, _ in layers)
        return (total / heads).reshape(maps.shape)
