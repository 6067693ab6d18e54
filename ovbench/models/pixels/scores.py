"""Scores of queries at full size, of which a few rows of a few queries exist at a time.

Bilinear resizing and the average over windows are linear along each axis, so that both are two
narrow matrices. A strip of the full-size scores is the small maps between these.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

CPU_BYTES = 4 * 2**20
"""Full-size scores held at a time on a CPU: what its caches keep (measured; a row at least)."""

GPU_BYTES = 64 * 2**20
"""The same on a GPU, where a few large steps are faster than many small ones."""


class Scores(NamedTuple):
    """Small maps of scores and the way to full size.

    Attributes:
        maps: ``(Q, h, w)`` float32, on any device.
        rows: ``(H, h)`` float32 on the CPU, from the maps' rows to full size, or None where they
            have it.
        columns: ``(W, w)``, likewise.
        added: scores of the same queries at the same full size, from maps of other sizes, whose sum
            with these is meant.
    """

    maps: Tensor
    rows: Tensor | None = None
    columns: Tensor | None = None
    added: tuple[Scores, ...] = ()

    @classmethod
    def enlarged(cls, maps: Tensor, size: tuple[int, int]) -> Scores:
        """Maps ``(Q, h, w)`` resized bilinearly (``align_corners=False``) to ``size``."""
        rows, columns = (resizing(n, to) for n, to in zip(maps.shape[1:], size, strict=True))
        return cls(maps.float(), rows, columns)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the full-size scores."""
        height, width = self.maps.shape[1:]
        return (
            height if self.rows is None else len(self.rows),
            width if self.columns is None else len(self.columns),
        )

    def of(self, queries: Tensor) -> Scores:
        """The scores of some queries, by index or by a mask ``(Q,)``."""
        added = tuple(other.of(queries) for other in self.added)
        return self._replace(maps=self.maps[queries.to(self.maps.device)], added=added)

    def whole(self) -> Tensor:
        """All scores at once, ``(Q, H, W)`` float32."""
        full = self.maps.new_empty(len(self.maps), *self.size)
        for first, top, values in self.strips():
            height, queries, _ = values.shape
            full[first : first + queries, top : top + height] = values.transpose(0, 1)
        return full

    def strips(self) -> Iterator[tuple[int, int, Tensor]]:
        """Every score once, some queries and some rows at a time.

        What is held at a time is bounded by :data:`CPU_BYTES` or :data:`GPU_BYTES`, or by one row
        of one query where these are less.

        Yields:
            Of each strip its first query, its top row and its scores, ``(h, q, W)`` float32.
        """
        height, width = self.size
        parts = (self, *self.added)
        on_cpu = self.maps.device.type == "cpu"
        budget = (CPU_BYTES if on_cpu else GPU_BYTES) // 4  # float32
        queries = max(1, budget // (sum(part.maps.shape[1] for part in parts) * width))
        for first in range(0, len(self.maps), queries):
            wide = [part._widened(first, first + queries) for part in parts]
            # A reader holds differences and exponentials of a strip beside it.
            step = max(1, budget // (3 * wide[0].shape[1] * width))
            for top in range(0, height, step):
                bottom = min(top + step, height)
                total, *others = (
                    part._rows(one, top, bottom) for part, one in zip(parts, wide, strict=True)
                )
                for other in others:
                    total = total + other
                yield first, top, total

    def _widened(self, first: int, last: int) -> Tensor:
        """The maps of some queries, ``(h, q, W)``.

        Rows first: a strip is then one product, of a few rows with all of their scores.
        """
        maps = self.maps[first:last].transpose(0, 1)
        return maps if self.columns is None else maps @ self.columns.to(maps.device).T

    def _rows(self, wide: Tensor, top: int, bottom: int) -> Tensor:
        if self.rows is None:
            return wide[top:bottom]
        weights = self.rows[top:bottom]
        used = weights.any(dim=0).nonzero().flatten()
        weights, used = weights[:, used].to(wide.device), used.to(wide.device)
        strip: Tensor = torch.tensordot(weights, wide[used], dims=1)
        return strip


def resizing(places: int, wanted: int, *, ends: bool = False) -> Tensor:
    """Bilinear resizing of one axis; ``(wanted, places)`` float32.

    Args:
        ends: the centres of the first and of the last place stay where they are
            (``align_corners=True``); otherwise the outer edges do.
    """
    centres = torch.arange(wanted, dtype=torch.float64)
    if ends:
        source = centres * ((places - 1) / max(wanted - 1, 1))
    else:
        source = ((centres + 0.5) * (places / wanted) - 0.5).clamp_(0, places - 1)
    below = source.long().clamp_(max=max(places - 2, 0))
    weight = source - below
    matrix = torch.zeros(wanted, places, dtype=torch.float64)
    index = torch.arange(wanted)
    matrix[index, below] = 1 - weight
    if places > 1:
        matrix[index, below + 1] = weight
    return matrix.float()
