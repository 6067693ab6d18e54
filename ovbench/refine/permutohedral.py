"""The permutohedral lattice: Gaussian filtering of many channels at scattered points.

Adams, Baek and Davis, "Fast High-Dimensional Filtering Using the Permutohedral Lattice"
(Eurographics 2010). Points in d dimensions are spread on the vertices of the simplex around
them, values are blurred along the d + 1 directions of the lattice, and read back. Every step
is a weighted sum of rows, and is done by the one kernel that PyTorch has for it on every
device, ``embedding_bag``.
"""

from __future__ import annotations

import math
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
        return scale_of(self.corners.shape[1] - 1)

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


def scale_of(d: int) -> float:
    """What a value that was filtered in ``d`` dimensions is to be multiplied by."""
    return 1 / (1 + 2.0**-d)


def build_lattice(features: Tensor) -> Lattice:
    """Embed points.

    Args:
        features: ``(N, d)`` float32, each dimension divided by its standard deviation.

    Raises:
        ValueError: features that are not finite, or spread too far for 64-bit keys.
    """
    if not features.isfinite().all():
        raise ValueError("features must be finite")
    keys, steps, shares = _corners(features)
    # Vertices are numbered by their keys: those that are close in the first dimensions are
    # close in memory, and so are their neighbours along most directions.
    ordered, order = keys.sort(stable=True)
    begins = torch.ones_like(ordered, dtype=torch.bool)
    torch.ne(ordered[1:], ordered[:-1], out=begins[1:])
    present = ordered[begins]
    numbers = begins.cumsum(0, dtype=torch.int32).sub_(1)
    starts = begins.nonzero().flatten()
    return Lattice(
        vertices=len(present),
        corners=torch.empty_like(numbers).scatter_(0, order, numbers).reshape(shares.shape),
        shares=shares,
        points=order.div(shares.shape[1], rounding_mode="floor").int(),
        point_shares=shares.flatten().index_select(0, order),
        starts=torch.cat([starts, starts.new_tensor([len(order)])]).int(),
        neighbours=_neighbours(present, steps),
        blur=_blur_weights(len(present), features.device),
    )


def _corners(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The keys of each point's corners, steps between keys, and shares; see below."""
    base, rank, shares = _simplices(features)
    keys, steps = _keys(base, rank)
    return keys.T.flatten(), steps, shares


def _simplices(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The simplex around each point.

    Returns:
        ``(d + 1, N)`` float32, the first corner's coordinates, divided by d + 1 whole numbers;
        ``(d + 1, N)`` int64, the ranks of the point's coordinates, seen from there;
        ``(N, d + 1)`` float32, its barycentric coordinates.
    """
    d = features.shape[1]
    position = _elevated(features)
    nearest = torch.ceil(position / (d + 1) - 0.5)
    rank = _ranks(position - nearest * (d + 1)) + nearest.sum(dim=0).to(torch.int8)
    # Where the nearest multiples do not sum to 0, the outermost coordinates move by one.
    wrap = (rank < 0).to(torch.int8) - (rank > d).to(torch.int8)
    rank = rank.add_(wrap, alpha=d + 1).long()
    nearest += wrap
    inside = position.sub_(nearest, alpha=d + 1).div_(d + 1)
    ordered = torch.empty_like(inside).scatter_(0, rank, inside)
    shares = torch.empty_like(inside)
    torch.sub(ordered[:-1], ordered[1:], out=shares[1:])
    torch.sub(ordered[d], ordered[0], out=shares[0]).add_(1)
    shares[1:] = shares[1:].flip(0)
    return nearest, rank, shares.T.contiguous()


def _elevated(features: Tensor) -> Tensor:
    """Points in the hyperplane of ``d + 1`` coordinates that sum to 0; ``(d + 1, N)``."""
    d = features.shape[1]
    axis = torch.arange(1, d + 1, device=features.device, dtype=torch.float32)
    scaled = (features * axis_factors(d).to(features.device)).T
    after = scaled.flip(0).cumsum(0).flip(0)
    position = torch.zeros(d + 1, features.shape[0], device=features.device)
    position[:d] += after
    position[1:] -= scaled * axis[:, None]
    return position


def axis_factors(d: int) -> Tensor:
    """``(d,)``: the lattice's blur has a standard deviation of 1 along each axis."""
    axis = torch.arange(1, d + 1, dtype=torch.float32)
    return math.sqrt(2 / 3) * (d + 1) / (axis * (axis + 1)).sqrt()


def _ranks(offset: Tensor) -> Tensor:
    """Per point, how many coordinates are larger than each; earlier ones count in a tie; int8."""
    last = len(offset) - 1
    ranks = torch.arange(last, -1, -1, dtype=torch.int8, device=offset.device)
    ranks = ranks[:, None].repeat(1, offset.shape[1])
    for i in range(1, last + 1):
        for j in range(i):
            behind = (offset[j] >= offset[i]).view(torch.int8)
            ranks[i] += behind
            ranks[j] -= behind
    return ranks


def _keys(base: Tensor, rank: Tensor) -> tuple[Tensor, Tensor]:
    """One number for each corner, and what a step along each direction adds to it.

    A key packs the d differences between coordinates that follow one another, the first one
    foremost. A step along a direction adds d to one coordinate and takes 1 from all others;
    from one corner to the next the coordinate of the highest rank that is left steps back.

    Returns:
        ``(d + 1, N)`` and ``(d + 1,)``, both int32 where that suffices, else int64.
    """
    between = base[:-1] - base[1:]
    # A corner is up to 1 away from the base, and its neighbours up to 1 from there.
    lowest = between.amin(dim=1) - 2
    span = (between.amax(dim=1) + 3 - lowest).long().tolist()
    if math.prod(span) >= 2**62:
        raise ValueError("the features spread too far: standard deviations are too small")
    dtype = torch.int32 if math.prod(span) < 2**31 else torch.int64
    units = between.new_tensor([math.prod(span[i + 1 :]) for i in range(len(span))], dtype=dtype)
    steps = torch.cat([units, units.new_zeros(1)])
    steps[1:] -= units
    by_rank = steps.new_empty(rank.shape).scatter_(0, rank, steps[:, None].expand_as(rank))
    keys = steps.new_empty(rank.shape)
    torch.sum((between - lowest[:, None]).to(dtype) * units[:, None], 0, dtype=dtype, out=keys[0])
    for corner in range(1, len(keys)):
        torch.sub(keys[corner - 1], by_rank[-corner], out=keys[corner])
    return keys, steps


def _neighbours(present: Tensor, steps: Tensor) -> Tensor:
    """Per direction each vertex, the one behind it and the one before; M where there is none.

    Args:
        present: ``(M,)``, the vertices' keys, ascending.
    """
    count = len(present)
    table = torch.full((len(steps), count + 1, 3), count, dtype=torch.int32, device=present.device)
    own = torch.arange(count, dtype=torch.int32, device=present.device)
    table[:, :count, 0] = own
    for direction, step in zip(table, steps, strict=True):
        key = present + step
        at = torch.searchsorted(present, key).clamp_(max=count - 1)
        at = torch.where(present[at] == key, at, count)
        direction[:count, 1] = at
        direction[:, 2].scatter_(0, at, own)
        direction[count] = count  # whoever looked for a missing one has put itself there
    return table


def _blur_weights(count: int, device: torch.device) -> Tensor:
    weights = torch.tensor([1.0, 0.5, 0.5], device=device).repeat(count + 1, 1)
    weights[count] = 0.0
    return weights
