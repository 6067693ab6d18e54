"""Mean field of a dense CRF by tensor operations, on any device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from ovbench.refine.permutohedral import Lattice, build_lattice

TABLE_BYTES = {"cpu": 14 * 2**20}
"""Vertex values of a group of classes, filtered at a time, by device: two such tables, before and
after a blur, stay in a cache of 32 MiB."""

MESSAGE_BYTES = {"cpu": 4 * 2**20}
"""The same of messages, which then need no memory to speak of and are still in the cache."""

OTHER_BYTES = 512 * 2**20
"""Either on a GPU, where a few large steps are faster than many small ones."""

NORM_EPSILON = 1e-20
"""As in the authors' code."""


def kernel(features: Tensor, weight: float) -> Lattice:
    """A Gaussian kernel between points, normalised symmetrically: the shares have all of it.

    Args:
        features: ``(N, d)`` float32, divided by their standard deviations.
        weight: of the kernel.
    """
    lattice = build_lattice(features)
    ones = features.new_ones(len(features), 1)
    norm = (lattice.filter(ones)[:, 0] + NORM_EPSILON).rsqrt_()
    lattice.point_shares.mul_(norm.index_select(0, lattice.points))
    lattice.shares.mul_((norm * (lattice.scale * weight))[:, None])
    return lattice


class MeanField:
    """The mean field, not normalised, in groups of classes.

    Attributes:
        masses: per group ``(N, c)``: a pixel's probability of a class is its mass over the total.
        total: per pixel the mass of all classes; ``(N,)``.
    """

    def __init__(self, unary: Tensor, copies: Tensor, kernels: Sequence[Lattice]) -> None:
        """Begin at the unaries.

        Args:
            unary: ``(C, N)``.
            copies: ``(C,)`` float32.
            kernels: whose sum carries the messages between pixels.
        """
        # Messages are at least 0, so the best class's mass never falls below 1; a message
        # is at most about the sum of the weights, far from overflowing.
        best = unary.amin(dim=0)
        groups = _groups(len(unary), max(kernel.vertices for kernel in kernels), unary.device)
        self._kernels = kernels
        self._own = []
        for part in unary.tensor_split(groups):
            own = best.new_empty(part.shape[1], len(part))
            self._own.append(torch.sub(best[:, None], part.T, out=own))
        self._copies = copies.tensor_split(groups)
        self.masses = [own.exp() for own in self._own]
        self.total = torch.zeros_like(best)
        for mass, count in zip(self.masses, self._copies, strict=True):
            self.total.addmv_(mass, count)

    def update(self) -> None:
        """One parallel mean-field step."""
        # Normalising the masses is left to the weights with which they are spread.
        share = self.total.reciprocal()
        spreads = [share.index_select(0, k.points).mul_(k.point_shares) for k in self._kernels]
        self.total.zero_()
        for mass, own, count in zip(self.masses, self._own, self._copies, strict=True):
            spread = zip(self._kernels, spreads, strict=True)
            tables = [kernel.blurred(mass, weights) for kernel, weights in spread]
            # From the tables to the masses a few rows at a time, which stay in the cache.
            for rows in _parts(mass):
                after = torch.add(self._message(tables, rows), own[rows], out=mass[rows]).exp_()
                self.total[rows].addmv_(after, count)

    def labels(self) -> Tensor:
        """The first of the most probable classes; ``(N,)`` int64."""
        best, label = self.masses[0].max(dim=1)
        first = self.masses[0].shape[1]
        for mass in self.masses[1:]:
            value, index = mass.max(dim=1)
            label = torch.where(value > best, index + first, label)
            best = torch.maximum(best, value)
            first += mass.shape[1]
        return label

    def posterior(self) -> Tensor:
        """Every class's probability; ``(C, N)`` float32."""
        result = self.total.new_empty(sum(mass.shape[1] for mass in self.masses), len(self.total))
        share = self.total.reciprocal()
        groups = result.tensor_split(len(self.masses))
        for part, mass in zip(groups, self.masses, strict=True):
            torch.mul(mass.T, share, out=part)
        return result

    def _message(self, tables: Sequence[Tensor], rows: slice) -> Tensor:
        """To these pixels, ``(n, c)``."""
        messages = (
            embedding_bag(
                kernel.corners[rows], table, mode="sum", per_sample_weights=kernel.shares[rows]
            )
            for kernel, table in zip(self._kernels, tables, strict=True)
        )
        return reduce(Tensor.add_, messages)


def _groups(classes: int, vertices: int, device: torch.device) -> int:
    """Into how many groups the classes are cut."""
    limit = TABLE_BYTES.get(device.type, OTHER_BYTES)
    # Fewer than 8 float32 values would waste most of a cache line.
    together = max(8, limit // (4 * (vertices + 1)))
    return -(-classes // together)


def _parts(mass: Tensor) -> Iterator[slice]:
    """The pixels whose messages are taken at a time."""
    limit = MESSAGE_BYTES.get(mass.device.type, OTHER_BYTES)
    size = max(1, limit // (4 * mass.shape[1]))
    for first in range(0, len(mass), size):
        yield slice(first, first + size)
