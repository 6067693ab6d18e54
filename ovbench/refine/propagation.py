"""Label propagation: what a graph's nodes score, brought into line with what they are joined to.

Stojnić et al., "LPOSS: Label Propagation Over Patches and Pixels for Open-vocabulary Semantic
Segmentation" (CVPR 2025); released code: github.com/vladan-stojnic/LPOSS,
segmentation/evaluation/lposs_eval.py, with CuPy and faiss, which are not needed here.
"""

from __future__ import annotations

import warnings
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional

PAIRS = 2**22
"""Of nodes, compared at a time: 16 MiB in float32 for each of some matrices."""

COLUMNS = 32
"""Solved together; of 448 x 597 pixels that is 34 MB for each of five vectors."""


def patch_graph(
    features: Tensor,
    places: Tensor,
    *,
    neighbours: int,
    sharpness: float,
    nearness: float,
    distance_power: float = 1.0,
) -> Tensor:
    """Which patches are joined: those most alike, and the more the nearer they lie.

    Every patch is joined to those with the largest products of features; a product below zero is
    none. Its ``sharpness``-th power counts, times ``exp(-nearness * distance ** distance_power)``.

    Args:
        features: ``(n, d)`` float32, of unit length.
        places: ``(n, 2)``, of the patches' centres, in pixels.
        neighbours: of each patch, which is one of them itself and is left out afterwards.

    Returns:
        ``(n, n)`` as :func:`propagate` takes it, sparse.
    """
    count = len(features)
    neighbours = min(neighbours, count)
    weights, columns = [], []
    places = places.float()
    for first in range(0, count, step := max(1, PAIRS // count)):
        some = slice(first, first + step)
        alike, there = (features[some] @ features.T).topk(neighbours, dim=1)
        far = (places[some, None] - places[there]).square().sum(dim=-1).sqrt()
        near = (-nearness * far**distance_power).exp()
        weights.append(alike.clamp_min(0) ** sharpness * near)
        columns.append(there)
    column = torch.cat(columns)
    row = torch.arange(count, device=column.device)[:, None].expand_as(column)
    weight = torch.cat(weights)
    apart = row != column  # a node is not joined with itself
    one, other, weight = row[apart], column[apart], weight[apart]
    both = torch.stack([torch.cat([one, other]), torch.cat([other, one])])
    size = (count, count)
    graph = torch.sparse_coo_tensor(both, weight.repeat(2), size, check_invariants=False).coalesce()
    row, column = graph.indices()
    starts = torch.searchsorted(row, torch.arange(count + 1, device=row.device))
    return _normalised(starts.int(), column.int(), graph.values())


def pixel_graph(lab: Tensor, *, reach: int, tau: float) -> Tensor:
    """Which pixels are joined: those around each, the more the more alike their colours are.

    A pair has the weight ``exp(-distance / tau)``, of colours in Lab whose channels are divided by
    100, 128 and 128. Its memory is 8 bytes for each of ``(2 * reach + 1) ** 2 - 1`` neighbours of
    a pixel.

    Args:
        lab: ``(3, H, W)`` float32; lightness in 0..100.
        reach: pixels to either side, along both axes.

    Returns:
        ``(H * W, H * W)`` as :func:`propagate` takes it, sparse, pixels counted row by row.
    """
    _, height, width = lab.shape
    colours = (lab / lab.new_tensor([100, 128, 128])[:, None, None]).permute(1, 2, 0)
    padded = functional.pad(colours, (0, 0, reach, reach, reach, reach), value=torch.nan)
    steps = [s for s in product(range(-reach, reach + 1), repeat=2) if s != (0, 0)]
    ahead = torch.tensor([down * width + right for down, right in steps], device=lab.device)
    total = sum(max(height - abs(d), 0) * max(width - abs(r), 0) for d, r in steps)
    weights, columns = lab.new_empty(total), ahead.new_empty(total, dtype=torch.int32)
    counts = [ahead.new_zeros(1)]
    done = 0
    # A row of pixels at a time would do; several keep the machine busy.
    for top in range(0, height, step := max(1, PAIRS // (width * len(steps)))):
        rows = min(step, height - top)
        own = colours[top : top + rows]
        weight = torch.stack(
            [
                (own - padded[top + reach + down :, reach + right :][:rows, :width])
                .square()
                .sum(dim=-1)
                .sqrt()
                for down, right in steps
            ],
            dim=-1,
        )
        inside = ~weight.isnan()
        number = torch.arange(top * width, (top + rows) * width, device=lab.device)
        column = number.reshape(rows, width, 1) + ahead
        counts.append(inside.sum(dim=-1).flatten())
        there = slice(done, done := done + int(counts[-1].sum()))
        weights[there] = (-weight[inside] / tau).exp()
        columns[there] = column[inside]
    return _normalised(torch.cat(counts).cumsum(0).int(), columns, weights)


def propagate(
    graph: Tensor, scores: Tensor, *, alpha: float, iterations: int, tolerance: float = 1e-6
) -> Tensor:
    """Solve ``(I - alpha * graph) Z = scores`` by conjugate gradients, begun from zero.

    The released code stops after ten iterations, which is part of the method: the solution of its
    sample differs by 2e-3.

    Args:
        graph: ``(n, n)``, symmetric, of :func:`patch_graph` or :func:`pixel_graph`.
        scores: ``(n, Q)`` float32; every column is solved by itself.
        alpha: below 1.
        iterations: at most.
        tolerance: a column is done when its residual is at most this share of its length.

    Returns:
        ``(n, Q)`` float32.
    """
    solved = [
        _solved(graph, part, alpha, iterations, tolerance)
        for part in torch.split(scores, COLUMNS, dim=1)
    ]
    return torch.cat(solved, dim=1)


def _solved(
    graph: Tensor, scores: Tensor, alpha: float, iterations: int, tolerance: float
) -> Tensor:
    found = torch.zeros_like(scores)
    residual, direction = scores.clone(), scores.clone()
    squared = residual.square().sum(dim=0)
    enough = squared * tolerance**2
    for _ in range(iterations):
        busy = squared > enough
        if not busy.any():
            break
        image = direction - alpha * (graph @ direction)
        step = torch.where(busy, squared / (direction * image).sum(dim=0), 0)
        found += step * direction
        residual -= step * image
        before, squared = squared, residual.square().sum(dim=0)
        direction = residual + torch.where(busy, squared / before, 0) * direction
    return found


def rgb_to_lab(pixels: Tensor) -> Tensor:
    """sRGB in 0..1, ``(3, H, W)``, as CIE Lab with the white of D65 and two degrees.

    The released code takes kornia's, whose numbers these are, as they are scikit-image's.
    """
    linear = torch.where(
        pixels > 0.04045, ((pixels + 0.055) / 1.055) ** 2.4, pixels / 12.92
    ).reshape(3, -1)
    to_xyz = pixels.new_tensor(
        [
            [0.412453, 0.357580, 0.180423],
            [0.212671, 0.715160, 0.072169],
            [0.019334, 0.119193, 0.950227],
        ]
    )
    white = pixels.new_tensor([0.95047, 1.0, 1.08883])[:, None]
    xyz = to_xyz @ linear / white
    x, y, z = torch.where(xyz > 0.008856, xyz.clamp_min(0.008856) ** (1 / 3), 7.787 * xyz + 4 / 29)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)]).reshape_as(pixels)


def _normalised(starts: Tensor, columns: Tensor, weights: Tensor) -> Tensor:
    """A sparse graph divided by the roots of its nodes' sums, on both sides.

    Args:
        starts: ``(n + 1,)`` int32, where each node's weights begin.
        columns, weights: of all nodes; weights are changed.
    """
    graph = _sparse(starts, columns, weights)
    sums = (graph @ weights.new_ones(len(starts) - 1, 1))[:, 0]
    share = sums.masked_fill_(sums == 0, 1).rsqrt_()
    weights *= share.index_select(0, columns)
    weights *= share.repeat_interleave(starts.diff(), output_size=len(weights))
    return graph


def _sparse(starts: Tensor, columns: Tensor, weights: Tensor) -> Tensor:
    size = (len(starts) - 1, len(starts) - 1)
    with warnings.catch_warnings():  # PyTorch calls its CSR tensors a beta
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support")
        return torch.sparse_csr_tensor(starts, columns, weights, size, check_invariants=False)
