"""The permutohedral lattice by compiled loops, for the CPU, where numba is installed.

The same lattice as :mod:`ovbench.refine.permutohedral` makes of tensors, number by number. Tensor
operations write every intermediate of every point to memory and sort all corners; a loop keeps a
point in registers, and sorts only the vertices, a tenth of the corners, after a hash table has
found them. The machine code is kept on disk, so that compiling is paid once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ovbench.refine.compiled.compiler import compiled
from ovbench.refine.compiled.threads import Threads
from ovbench.refine.permutohedral import axis_factors

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Float32 = npt.NDArray[np.float32]


_FREE = -1
_FARTHEST = np.iinfo(np.int32).max
_MIX = np.uint64(0x9E3779B97F4A7C15)
_FIRST_BITS = 12  # of the hash table, which doubles as it fills


def find_vertices(features: Float32) -> tuple[Int32, Float32, Int32]:
    """Embed points.

    Args:
        features: ``(N, d)`` float32, each dimension divided by its standard deviation.

    Returns:
        ``corners`` and ``shares`` of :class:`ovbench.refine.permutohedral.Lattice`, and the last
        two columns of its ``neighbours``, of M vertices; ``(d + 1, M, 2)``.

    Raises:
        ValueError: features that are not finite, or spread too far for 64-bit keys.
    """
    if not np.isfinite(features).all():
        raise ValueError("features must be finite")
    count, d = features.shape
    factors = axis_factors(d).numpy()
    base = np.empty((count, d + 1), np.int32)
    rank = np.empty((count, d + 1), np.int8)
    shares = np.empty((count, d + 1), np.float32)
    threads = Threads()
    parts = [slice(first, last) for first, last in threads.parts(count)]

    def each(work: Callable[[slice], Any], parts: list[slice] = parts) -> list[Any]:
        return threads.each(work, parts)

    extremes = np.array(
        each(lambda p: _simplices(features[p], tuple(factors), base[p], rank[p], shares[p]))
    )
    lowest, units, steps = _units(extremes[:, 0].min(axis=0), extremes[:, 1].max(axis=0))
    keys = np.empty((count, d + 1), np.int64)
    each(lambda p: _keys(base[p], rank[p], lowest, units, steps, keys[p]))
    corners = np.empty((count, d + 1), np.int32)
    found = each(lambda p: _numbered(keys[p].reshape(-1), corners[p].reshape(-1)))
    present, number = np.unique(np.concatenate(found), return_inverse=True)
    ends = np.cumsum([len(vertices) for vertices in found])
    numbers = dict(zip((p.start for p in parts), np.split(number, ends[:-1]), strict=True))
    each(lambda p: _renumber(corners[p].reshape(-1), numbers[p.start]))
    neighbours = np.empty((d + 1, len(present), 2), np.int32)
    each(
        lambda p: _neighbours(present, steps[p], neighbours[p]),
        [slice(i, i + 1) for i in range(d + 1)],
    )
    return corners, shares, neighbours


def _units(low: Int64, high: Int64) -> tuple[Int64, Int64, Int64]:
    """As of :func:`ovbench.refine.permutohedral._keys`."""
    lowest = low - 2
    span = (high + 3 - lowest).tolist()
    if math.prod(span) >= 2**62:
        raise ValueError("the features spread too far: standard deviations are too small")
    units = np.array([math.prod(span[i + 1 :]) for i in range(len(span))], np.int64)
    steps = np.append(units, 0)
    steps[1:] -= units
    return lowest, units, steps


@compiled()
def _simplices(
    features: Float32,
    factors: tuple[np.float32, ...],
    base: Int32,
    rank: npt.NDArray[np.int8],
    shares: Float32,
) -> Int64:
    """Fill the last three; the least and the largest differences between coordinates."""
    # Of a tuple the compiler knows the length, and writes out all loops over coordinates.
    d = len(factors)
    whole = np.float32(d + 1)
    half = np.float32(0.5)
    position = np.empty(d + 1, np.float32)
    offset = np.empty(d + 1, np.float32)
    nearest = np.empty(d + 1, np.int32)
    places = np.empty(d + 1, np.int32)
    ordered = np.empty(d + 1, np.float32)
    extremes = np.empty((2, d), np.int64)
    extremes[0], extremes[1] = _FARTHEST, -_FARTHEST
    for point in range(len(features)):
        after = 0.0  # sums have the precision of PyTorch's
        position[d] = np.float32(0)
        for i in range(d - 1, -1, -1):
            scaled = features[point, i] * factors[i]
            after += scaled
            position[i] = np.float32(after)
            position[i + 1] -= scaled * np.float32(i + 1)
        total = np.int32(0)
        for i in range(d + 1):
            multiple = np.ceil(position[i] / whole - half)
            offset[i] = position[i] - multiple * whole
            nearest[i] = np.int32(multiple)
            total += nearest[i]
            places[i] = d - i
        for i in range(1, d + 1):
            for j in range(i):
                behind = np.int32(offset[j] >= offset[i])
                places[i] += behind
                places[j] -= behind
        for i in range(d + 1):
            place = places[i] + total
            # Where the nearest multiples do not sum to 0, the outermost coordinates move by one.
            wrap = np.int32(place < 0) - np.int32(place > d)
            place += wrap * np.int32(d + 1)
            nearest[i] += wrap
            rank[point, i] = place
            base[point, i] = nearest[i]
            ordered[place] = (position[i] - np.float32(nearest[i]) * whole) / whole
        shares[point, 0] = (ordered[d] - ordered[0]) + np.float32(1)
        for i in range(d):
            shares[point, i + 1] = ordered[d - 1 - i] - ordered[d - i]
            between = nearest[i] - nearest[i + 1]
            extremes[0, i] = min(extremes[0, i], between)
            extremes[1, i] = max(extremes[1, i], between)
    return extremes


@compiled()
def _keys(
    base: Int32,
    rank: npt.NDArray[np.int8],
    lowest: Int64,
    units: Int64,
    steps: Int64,
    keys: Int64,
) -> None:
    """Fill the last with the key of each corner."""
    count, corners = base.shape
    by_rank = np.empty(corners, np.int64)
    for point in range(count):
        key = 0
        for i in range(corners - 1):
            key += (base[point, i] - base[point, i + 1] - lowest[i]) * units[i]
        for i in range(corners):
            by_rank[rank[point, i]] = steps[i]
        keys[point, 0] = key
        for corner in range(1, corners):
            key -= by_rank[corners - corner]
            keys[point, corner] = key


@compiled()
def _numbered(keys: Int64, numbers: Int32) -> Int64:
    """The vertices' keys as they are met; fill the last with each key's number among them."""
    bits = _FIRST_BITS
    table, holds = np.full(1 << bits, _FREE, np.int64), np.empty(1 << bits, np.int32)
    present = np.empty(1 << (bits - 1), np.int64)
    count = 0
    # The search is not a function of its own: calls would count references to the arrays.
    for i in range(len(keys)):
        key = keys[i]
        at = np.int64((np.uint64(key) * _MIX) >> np.uint64(64 - bits))
        while table[at] != key and table[at] != _FREE:
            at = (at + 1) & (len(table) - 1)
        if table[at] == _FREE:
            table[at] = key
            holds[at] = count
            present[count] = key
            count += 1
            numbers[i] = count - 1
            if count == len(present):  # half full
                bits += 1
                table, holds = np.full(1 << bits, _FREE, np.int64), np.empty(1 << bits, np.int32)
                for known in range(count):
                    at = np.int64((np.uint64(present[known]) * _MIX) >> np.uint64(64 - bits))
                    while table[at] != _FREE:
                        at = (at + 1) & (len(table) - 1)
                    table[at] = present[known]
                    holds[at] = known
                present = np.concatenate((present, np.empty(count, np.int64)))
        else:
            numbers[i] = holds[at]
    return present[:count].copy()


@compiled()
def _renumber(corners: Int32, number: Int64) -> None:
    for i in range(len(corners)):
        corners[i] = number[corners[i]]


@compiled()
def _neighbours(present: Int64, steps: Int64, table: Int32) -> None:
    """Fill the last, of some directions: both keys and keys a step on ascend, so they merge."""
    count = len(present)
    for direction in range(len(steps)):
        step = steps[direction]
        table[direction] = count
        at = 0
        for vertex in range(count):
            key = present[vertex] + step
            while at < count and present[at] < key:
                at += 1
            if at < count and present[at] == key:
                table[direction, vertex, 0] = at
                table[direction, at, 1] = vertex
