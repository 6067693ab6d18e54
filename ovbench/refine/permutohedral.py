"""The permutohedral lattice: Gaussian filtering of many channels at scattered points.

Adams, Baek and Davis, "Fast High-Dimensional Filtering Using the Permutohedral Lattice"
(Eurographics 2010). Points in d dimensions are spread on the vertices of the simplex around
them, values are blurred along the d + 1 directions of the lattice, and read back. Every step
is a weighted sum of rows, and is done by the one kernel that PyTorch has for it on every
device, ``embedding_bag``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag


@dataclass(frozen=True, slots=True, eq=False)
class Lattice:
    """The vertices around a set of N points, and who is whose neighbour.

    The last row of a table of vertex values is empty: it stands for missing neighbours.

    Attributes:
        vertices: M, without the empty one.
        corners: ``(N, d + 1)`` int32, the vertices around each point.
        shares: ``(N, d + 1)`` float32, barycentric; they sum to 1.
        points: ``(N * (d + 1),)`` int32, the points around each vertex, by vertex.
        point_shares: ``(N * (d + 1),)`` float32, their shares of it.
        starts: ``(M + 1,)`` int32, where each vertex begins in ``points``.
        neighbours: ``(d + 1, M + 1, 3)`` int32: per direction, a vertex and its two neighbours.
        blur: ``(M + 1, 3)`` float32, their weights.
    """

    vertices: int
    corners: Tensor
    shares: Tensor
    points: Tensor
    point_shares: Tensor
    starts: Tensor
    neighbours: Tensor
    blur: Tensor

    @property
    def scale(self) -> float:
        """What a filtered value is to be multiplied by: blurring enlarges."""
        return 1 / (1 + 2.0 ** -(self.corners.shape[1] - 1))

    def blurred(self, values: Tensor, weights: Tensor) -> Tensor:
        """Spread the points' values on the vertices, and blur.

        Args:
            values: ``(N, C)`` float32.
            weights: like ``point_shares``; may hold factors of the points' own.

        Returns:
            ``(M + 1, C)`` float32.
        """
        table = embedding_bag(
            self.points, values, self.starts, mode="sum", per_sample_weights=weights
        )
        for neighbours in self.neighbours:
            table = embedding_bag(neighbours, table, mode="sum", per_sample_weights=self.blur)
        return table

    def filter(self, values: Tensor) -> Tensor:
        """Gaussian filter, ``(N, C)`` to ``(N, C)``, with a standard deviation of 1."""
        table = self.blurred(values, self.point_shares)
        return embedding_bag(
            self.corners, table, mode="sum", per_sample_weights=self.shares * self.scale
        )


def build_lattice(features: Tensor) -> Lattice:
    """Embed points.

    Args:
        features: ``(N, d)`` float32, each dimension divided by its standard deviation.

    Raises:
        ValueError: features that are not finite, or spread too far for 64-bit keys.
    """
    if not features.isfinite().all():
        raise ValueError("features must be finite")
    base, rank, shares = _simplices(features)
    steps = _steps(base)
    ordered, order = _keys(base, rank, steps).T.reshape(-1).sort(stable=True)
    begins = torch.ones_like(ordered, dtype=torch.bool)
    torch.ne(ordered[1:], ordered[:-1], out=begins[1:])
    starts = begins.nonzero().flatten()
    # Vertices are numbered as the points come to them: points that follow one another, such
    # as the pixels of a row, then find theirs close together in memory.
    sequence = order[starts].argsort()
    number = torch.empty_like(sequence)
    number[sequence] = torch.arange(len(sequence), device=sequence.device)
    corners = torch.empty_like(order, dtype=torch.int32)
    corners[order] = number.int()[begins.cumsum(0, dtype=torch.int32) - 1]
    order, starts = _regrouped(order, starts, sequence)
    return Lattice(
        vertices=len(number),
        corners=corners.reshape(shares.shape),
        shares=shares,
        points=order.div(shares.shape[1], rounding_mode="floor").int(),
        point_shares=shares.flatten()[order],
        starts=starts.int(),
        neighbours=_neighbours(ordered[begins], steps, number),
        blur=_blur_weights(len(number), features.device),
    )


def _regrouped(order: Tensor, starts: Tensor, sequence: Tensor) -> tuple[Tensor, Tensor]:
    """Groups, which begin at ``starts`` in ``order``, in another sequence; with an empty one."""
    sizes = torch.diff(starts, append=starts.new_tensor([len(order)]))[sequence]
    ends = sizes.cumsum(0)
    moved = starts[sequence] - (ends - sizes)
    index = torch.arange(len(order), device=order.device) + moved.repeat_interleave(sizes)
    return order[index], torch.cat([ends - sizes, ends[-1:]])


def join(lattices: Sequence[Lattice]) -> Lattice:
    """Several lattices around the same points as one: filtering adds up what they give.

    Directions that a lattice does not have leave its vertices as they are.
    """
    count = sum(lattice.vertices for lattice in lattices)
    directions = max(len(lattice.neighbours) for lattice in lattices)
    corners, points, starts, neighbours = [], [], [], []
    first, length = 0, 0
    for lattice in lattices:
        size = lattice.vertices
        own = torch.arange(first, first + size, device=lattice.corners.device).int()
        around = torch.stack([own, *[torch.full_like(own, count)] * 2], dim=1)
        around = around.repeat(directions, 1, 1)
        there = lattice.neighbours[:, :size]
        around[: len(there)] = torch.where(there == size, count, there + first)
        neighbours.append(around)
        corners.append(lattice.corners + first)
        points.append(lattice.points)
        starts.append(lattice.starts[:size] + length)
        first, length = first + size, length + len(lattice.points)
    nothing = around.new_full((directions, 1, 3), count)
    return Lattice(
        vertices=count,
        corners=torch.cat(corners, dim=1),
        shares=torch.cat([lattice.shares for lattice in lattices], dim=1),
        points=torch.cat(points),
        point_shares=torch.cat([lattice.point_shares for lattice in lattices]),
        starts=torch.cat([*starts, starts[0].new_tensor([length])]),
        neighbours=torch.cat([*neighbours, nothing], dim=1),
        blur=_blur_weights(count, around.device),
    )


def _simplices(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The simplex around each point.

    Returns:
        ``(d, N)`` int64, the first corner's coordinates (the last one follows from the others);
        ``(d + 1, N)`` int64, the ranks of the point's coordinates, seen from there;
        ``(N, d + 1)`` float32, its barycentric coordinates.
    """
    d = features.shape[1]
    position = _elevated(features)
    nearest = torch.ceil(position / (d + 1) - 0.5)
    excess = nearest.sum(dim=0)
    rank = _ranks(position - nearest * (d + 1)) + excess
    # Where the nearest multiples do not sum to 0, the outermost coordinates move by one.
    wrap = (rank < 0).float() - (rank > d).float()
    rank = (rank + wrap * (d + 1)).long()
    base = (nearest + wrap) * (d + 1)
    inside = (position - base) / (d + 1)
    ordered = torch.empty_like(inside).scatter_(0, rank, inside)
    shares = torch.empty_like(inside)
    shares[1:] = (ordered[:-1] - ordered[1:]).flip(0)
    shares[0] = 1 + ordered[d] - ordered[0]
    return base[:d].long(), rank, shares.T.contiguous()


def _elevated(features: Tensor) -> Tensor:
    """Points in the hyperplane of ``d + 1`` coordinates that sum to 0; ``(d + 1, N)``."""
    d = features.shape[1]
    axis = torch.arange(1, d + 1, device=features.device, dtype=torch.float32)
    # The lattice's blur has this standard deviation along each axis.
    scaled = (features * (math.sqrt(2 / 3) * (d + 1) / (axis * (axis + 1)).sqrt())).T
    after = scaled.flip(0).cumsum(0).flip(0)
    position = torch.zeros(d + 1, features.shape[0], device=features.device)
    position[:d] += after
    position[1:] -= scaled * axis[:, None]
    return position


def _ranks(offset: Tensor) -> Tensor:
    """Per point, how many coordinates are larger than each; earlier ones count in a tie."""
    ranks = torch.zeros_like(offset)
    for i in range(1, len(offset)):
        for j in range(i):
            behind = offset[j] >= offset[i]
            ranks[i] += behind
            ranks[j] += ~behind
    return ranks


def _steps(base: Tensor) -> Tensor:
    """What a step along each coordinate adds to a vertex's key; ``(d,)`` int64."""
    d = base.shape[0]
    # A corner is up to d away from the base, and its neighbours up to d from there.
    span = (base.amax(dim=1) - base.amin(dim=1) + 4 * d + 1).tolist()
    if math.prod(span) >= 2**62:
        raise ValueError("the features spread too far: standard deviations are too small")
    return torch.tensor([math.prod(span[i + 1 :]) for i in range(d)], device=base.device)


def _keys(base: Tensor, rank: Tensor, steps: Tensor) -> Tensor:
    """One number for each corner, ``(d + 1, N)`` int64.

    Corner k is the base plus k in every coordinate, less d + 1 where the rank is beyond d - k:
    from one corner to the next a single coordinate falls behind.
    """
    d = base.shape[0]
    lowest = base.amin(dim=1, keepdim=True) - 2 * d
    keys = torch.empty_like(rank)
    torch.sum((base - lowest) * steps[:, None], dim=0, out=keys[0])
    falls = torch.cat([steps, steps.new_zeros(1)]) * (d + 1)
    by_rank = torch.empty_like(rank).scatter_(0, rank, falls[:, None].expand_as(rank))
    for corner in range(1, d + 1):
        torch.sub(keys[corner - 1] + steps.sum(), by_rank[d + 1 - corner], out=keys[corner])
    return keys


def _neighbours(present: Tensor, steps: Tensor, number: Tensor) -> Tensor:
    """Per direction each vertex, the one behind it and the one before; M where there is none.

    Args:
        present: ``(M,)``, the vertices' keys, ascending.
        number: ``(M,)``, what they are called.
    """
    count, d = len(present), len(steps)
    table = number.new_full((d + 1, count + 1, 3), count, dtype=torch.int32)
    table[:, :, 0] = torch.arange(count + 1, device=number.device)
    for direction in range(d + 1):
        # A step adds d to the direction's coordinate and takes 1 from all others.
        step = -steps.sum()
        if direction < d:
            step = step + (d + 1) * steps[direction]
        key = present + step
        at = torch.searchsorted(present, key).clamp_(max=count - 1)
        here = (present[at] == key).nonzero().flatten()
        one, other = number[here], number[at[here]]
        table[direction, one, 1] = other.int()
        table[direction, other, 2] = one.int()
    return table


def _blur_weights(count: int, device: torch.device) -> Tensor:
    weights = torch.tensor([1.0, 0.5, 0.5], device=device).repeat(count + 1, 1)
    weights[count] = 0.0
    return weights
