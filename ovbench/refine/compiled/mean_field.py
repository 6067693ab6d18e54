"""Mean field of a dense CRF by compiled loops.

The sums of :mod:`ovbench.refine.mean_field` in one walk over the pixels: a pixel collects its
message from the blurred tables, is normalised, and spreads its masses on the tables of the next
step before it leaves the cache. Masses are never written to memory, and points need not be sorted
by vertex. Two threads walk, each over one half of the pixels and with tables of its own. The halves
are the same with one thread, so that numbers do not depend on threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ovbench.refine.compiled.compiler import compiled, inlined
from ovbench.refine.compiled.lattice import find_vertices
from ovbench.refine.compiled.rows import add_rows, add_to_rows
from ovbench.refine.compiled.threads import Threads
from ovbench.refine.mean_field import NORM_EPSILON
from ovbench.refine.permutohedral import scale_of

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Field = tuple[Float32, Float32, Int32, Float32, Float32, tuple[int, ...]]
"""Scores and copies of the classes, corners, weights, the blurred table; all flat; the block."""

_TOGETHER = 16
"""Pixels that are turned from planes to rows at a time: a cache line of each plane."""

_BLOCKS = {width: (0,) * width for width in (8, 16)}
"""Of classes that are added at a time; of a tuple the compiler knows the length."""

_NOBODY = np.float32(-1e30)
"""The score of classes that only fill up the last block."""

_NORM_EPSILON = np.float32(NORM_EPSILON)

_SUMS = ("contract", "reassoc", "nsz", "nnan")


@dataclass(frozen=True, slots=True, eq=False)
class Kernel:
    """A Gaussian kernel between N points, normalised symmetrically.

    Attributes:
        corners: ``(N, d + 1)`` int32, the vertices around each point.
        weights: ``(N, d + 1)`` float32, barycentric shares times the point's norm.
        neighbours: ``(d + 1, M, 2)`` int32, per direction a vertex's two; M where there is none.
        factor: of what is collected: the kernel's weight, and what blurring enlarges.
    """

    corners: Int32
    weights: Float32
    neighbours: Int32
    factor: float


def kernel(features: Tensor, weight: float) -> Kernel:
    """Of features divided by their standard deviations; ``(N, d)`` float32 on the CPU."""
    corners, weights, neighbours = find_vertices(features.contiguous().numpy())
    scale = scale_of(features.shape[1])
    tables = np.zeros((2, neighbours.shape[1] + 1, 1), np.float32)
    _spread_ones(corners.reshape(-1), weights.reshape(-1), tables[0].reshape(-1))
    for direction in neighbours:
        _blur(tables[0].reshape(-1), tables[1].reshape(-1), direction, 1, 0, len(direction))
        tables = tables[::-1]
    _normalise(corners, weights, tables[0].reshape(-1), np.float32(scale))
    return Kernel(corners, weights, neighbours, scale * weight)


class MeanField:
    """The mean field of some classes, on the CPU."""

    def __init__(self, unary: Tensor, copies: Tensor, kernels: Sequence[Kernel]) -> None:
        """Begin at the unaries.

        Args:
            unary: ``(C, N)`` float32.
            copies: ``(C,)`` float32, how many classes each stands for.
            kernels: whose sum carries the messages between pixels.
        """
        self._classes, self._pixels = unary.shape
        # Wider blocks are faster where they are not filled up with more than an eighth.
        lanes = 16 if -self._classes % 16 <= self._classes // 8 else 8
        self._width = self._classes + -self._classes % lanes
        self._kernels = kernels
        # The kernels' vertices stand in one table, behind each kernel's a row that stays empty.
        rows = [kernel.neighbours.shape[1] + 1 for kernel in kernels]
        self._offsets = [0, *np.cumsum(rows).tolist()]
        places = [
            kernel.corners + np.int32(offset)
            for kernel, offset in zip(kernels, self._offsets, strict=False)
        ]
        size = self._offsets[-1] * self._width
        self._sums = [np.zeros(size, np.float32) for _ in range(2)]
        self._filtered = False
        self._field = (
            np.empty(self._pixels * self._width, np.float32),
            np.append(copies.numpy(), np.zeros(self._width - self._classes, np.float32)),
            np.concatenate(places, axis=1).reshape(-1),
            np.concatenate([kernel.weights for kernel in kernels], axis=1).reshape(-1),
            np.zeros(size, np.float32),
            _BLOCKS[lanes],
        )
        self._threads = Threads()
        planes, best = unary.contiguous().numpy().reshape(-1), unary.amin(dim=0).numpy()
        self._each_part(partial(_scores, planes, best, self._field[0]), self._pixels)

    def update(self) -> None:
        """One parallel mean-field step."""
        step = partial(_step, self._field, self._filtered)
        middle = self._pixels // 2
        self._threads.each(step, self._sums, (0, middle), (middle, self._pixels))
        for kernel, *ends in zip(self._kernels, self._offsets[:-1], self._offsets[1:], strict=True):
            rows = slice(*(end * self._width for end in ends))
            self._blur(kernel, *(table[rows] for table in (*self._sums, self._field[-2])))
        self._filtered = True

    def labels(self) -> Tensor:
        """The first of the most probable classes; ``(N,)`` int64."""
        found = np.empty(self._pixels, np.int64)
        self._each_part(partial(_labels, self._field, self._filtered, found), self._pixels)
        return torch.from_numpy(found)

    def posterior(self) -> Tensor:
        """Every class's probability; ``(C, N)`` float32."""
        found = np.empty((self._classes, self._pixels), np.float32)
        self._each_part(partial(_posterior, self._field, self._filtered, found), self._pixels)
        return torch.from_numpy(found)

    def _blur(self, kernel: Kernel, one: Float32, other: Float32, blurred: Float32) -> None:
        """Of two halves' sums; the first of them is overwritten."""
        # Every direction is written from one table to the other, the last one to ``blurred``.
        source, target = (one, blurred) if len(kernel.neighbours) % 2 else (blurred, one)
        add = partial(_add, one, other, np.float32(kernel.factor), source)
        self._each_part(add, len(source))
        for neighbours in kernel.neighbours:
            blur = partial(_blur, source, target, neighbours, self._width)
            self._each_part(blur, len(neighbours))
            source, target = target, source

    def _each_part(self, work: Callable[[int, int], None], count: int) -> None:
        self._threads.each(lambda part: work(*part), self._threads.parts(count))


@compiled()
def _spread_ones(corners: Int32, weights: Float32, table: Float32) -> None:
    for i in range(len(corners)):
        table[corners[i]] += weights[i]


@compiled()
def _normalise(corners: Int32, weights: Float32, table: Float32, scale: np.float32) -> None:
    """Times the root of the reciprocal of what a point would collect of ones."""
    for point in range(len(corners)):
        found = np.float32(0)
        for i in range(corners.shape[1]):
            found += weights[point, i] * scale * table[corners[point, i]]
        norm = np.float32(1) / np.sqrt(found + _NORM_EPSILON)
        for i in range(corners.shape[1]):
            weights[point, i] *= norm


@compiled(rounding=_SUMS)
def _scores(unary: Float32, best: Float32, own: Float32, first: int, last: int) -> None:
    """Of pixels' classes, the best one's 0; they stand side by side, and then ``_NOBODY``."""
    pixels = np.uint64(len(best))
    classes, width = np.uint64(len(unary)) // pixels, np.uint64(len(own)) // pixels
    for begin in range(np.uint64(first), np.uint64(last), np.uint64(_TOGETHER)):
        end = min(begin + np.uint64(_TOGETHER), np.uint64(last))
        for plane in range(classes):
            for pixel in range(begin, end):
                own[pixel * width + plane] = best[pixel] - unary[plane * pixels + pixel]
        for pixel in range(begin, end):
            for plane in range(classes, width):
                own[pixel * width + plane] = _NOBODY


@inlined
def _sizes(field: Field) -> tuple[Any, Any]:
    """Of a pixel: how many scores, which the compiler sees to be whole blocks, and corners."""
    own, copies, corners, _, _, block = field
    lanes = np.uint64(len(block))
    width = np.uint64(len(copies)) // lanes * lanes
    return width, np.uint64(len(corners)) // (np.uint64(len(own)) // width)


# Arrays are handed on one by one: out of a tuple the compiler reads their places every time.
@inlined
def _collect(
    own: Float32,
    corners: Int32,
    weights: Float32,
    table: Float32,
    block: tuple[int, ...],
    width: Any,
    count: Any,
    pixel: Any,
    filtered: bool,
    scores: Float32,
) -> None:
    """Fill the last with a pixel's own scores and its message."""
    for i in range(width):
        scores[i] = own[pixel * width + i]
    if filtered:
        for at in range(np.uint64(0), width, np.uint64(len(block))):
            add_rows(block, scores, at, table, width, corners, weights, pixel * count, count)


@inlined
def _exponentiate(scores: Float32, width: Any, copies: Float32) -> Any:
    """Masses in their place; the mass of all classes."""
    total = np.float32(0)
    for i in range(width):
        mass = _exp(scores[i])
        scores[i] = mass
        total += mass * copies[i]
    return total


@inlined
def _exp(value: Any) -> Any:
    """Cody and Waite's, to two units of the last digit.

    Not below e to the -60, since products that are not normal numbers take many times as long.
    """
    value = min(max(value, np.float32(-60)), np.float32(80))
    power = np.floor(value * np.float32(1.44269504088896341) + np.float32(0.5))
    rest = value - power * np.float32(0.693359375) - power * np.float32(-2.12194440e-4)
    found = np.float32(1.9875691500e-4)
    found = found * rest + np.float32(1.3981999507e-3)
    found = found * rest + np.float32(8.3334519073e-3)
    found = found * rest + np.float32(4.1665795894e-2)
    found = found * rest + np.float32(1.6666665459e-1)
    found = found * rest + np.float32(5.0000001201e-1)
    found = found * rest * rest + rest + np.float32(1)
    exponent = np.int32((np.int32(power) + np.int32(127)) << np.int32(23))
    return found * exponent.view(np.float32)


@compiled(rounding=_SUMS)
def _step(field: Field, filtered: bool, sums: Float32, first: int, last: int) -> None:
    """Fill ``sums`` with what some pixels spread."""
    own, copies, corners, weights, table, block = field
    width, count = _sizes(field)
    masses = np.empty(len(copies), np.float32)
    sums[:] = np.float32(0)
    for pixel in range(np.uint64(first), np.uint64(last)):
        _collect(own, corners, weights, table, block, width, count, pixel, filtered, masses)
        share = np.float32(1) / _exponentiate(masses, width, copies)
        begin = pixel * count
        for at in range(np.uint64(0), width, np.uint64(len(block))):
            add_to_rows(block, masses, at, share, sums, width, corners, weights, begin, count)


@compiled(rounding=_SUMS)
def _labels(field: Field, filtered: bool, found: Int64, first: int, last: int) -> None:
    own, _, corners, weights, table, block = field
    width, count = _sizes(field)
    scores = np.empty(width, np.float32)
    for pixel in range(np.uint64(first), np.uint64(last)):
        _collect(own, corners, weights, table, block, width, count, pixel, filtered, scores)
        best = scores[0]
        for i in range(width):
            best = max(best, scores[i])
        label = 0
        while scores[label] < best:
            label += 1
        found[pixel] = label


@compiled(rounding=_SUMS)
def _posterior(field: Field, filtered: bool, found: Float32, first: int, last: int) -> None:
    own, copies, corners, weights, table, block = field
    width, count = _sizes(field)
    masses = np.empty(width, np.float32)
    for pixel in range(np.uint64(first), np.uint64(last)):
        _collect(own, corners, weights, table, block, width, count, pixel, filtered, masses)
        share = np.float32(1) / _exponentiate(masses, width, copies)
        for plane in range(len(found)):
            found[plane, pixel] = masses[plane] * share


@compiled(rounding=_SUMS)
def _add(
    one: Float32, other: Float32, factor: np.float32, total: Float32, first: int, last: int
) -> None:
    """Fill a part of ``total``, which may be one of the two."""
    for i in range(np.uint64(first), np.uint64(last)):
        total[i] = factor * (one[i] + other[i])


@compiled(rounding=_SUMS)
def _blur(
    source: Float32, target: Float32, neighbours: Int32, width: int, first: int, last: int
) -> None:
    """Fill rows of the second with those of the first and half of their neighbours."""
    for row in range(first, last):
        own = np.uint64(row * width)
        before = np.uint64(neighbours[row, 0] * width)
        behind = np.uint64(neighbours[row, 1] * width)
        for i in range(np.uint64(width)):
            target[own + i] = source[own + i] + np.float32(0.5) * (
                source[before + i] + source[behind + i]
            )
