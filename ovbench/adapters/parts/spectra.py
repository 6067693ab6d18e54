"""Heads of two transformers paired by the spectra of their keys, and one's graphs in the other's.

Kim et al., "Distilling Spectral Graph for Object-Context Aware Open-Vocabulary Semantic
Segmentation" (CVPR 2025). A head's graph holds the products of its keys, so that its eigenvalues
are those of the much smaller matrix of products of channels.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

EIGENVALUES = 20  # released code, custom_attn, k_eigen
ENERGY = 0.95  # released code, custom_attn, energy_threshold


def with_graphs_of(
    other: Tensor, keys: Tensor, *, weight: float, swapped: bool, rank: int | None, stretch: bool
) -> Tensor:
    """The graphs of one transformer's heads, each drawn to one of the other's.

    Args:
        other: keys of the other's heads on the same grid, ``(B, H', n, c)``.
        keys: ``(B, H, n, d)`` float32; their graph is their products over the root of d.
        weight: of the other's graph, times how different the spectra are; the own one has 1.
        swapped: see :func:`complements`.
        rank, stretch: see :func:`low_rank`.

    Returns:
        ``(B, H, n, n)`` float32, before a softmax.
    """
    other = to_range_of(other, keys, (1, 2, 3))
    spectra = (graph_spectrum(heads, EIGENVALUES) for heads in (keys, other))
    pairs = [complements(*pair, swapped=swapped) for pair in zip(*spectra, strict=True)]
    partners = torch.stack([other[i, partner] for i, (partner, _) in enumerate(pairs)])
    weights = weight * torch.stack([different for _, different in pairs]).to(keys)[..., None, None]
    theirs = low_rank(decomposed(partners), rank=rank, energy=ENERGY, stretch=stretch)
    own = keys @ keys.mT * keys.shape[-1] ** -0.5
    mixed: Tensor = (weights * to_range_of(theirs, own, (2, 3)) + own) / (weights + 1)
    return mixed


class Decomposition(NamedTuple):
    """Singular value decompositions of graphs ``(..., n, n)``, as ``left * values @ right.mT``.

    Attributes:
        left, right: ``(..., n, r)``.
        values: ``(..., r)``, falling.
    """

    left: Tensor
    values: Tensor
    right: Tensor


def graph_spectrum(keys: Tensor, most: int) -> Tensor:
    """The largest eigenvalues of ``keys @ keys.mT``, falling, with the sum 1.

    Args:
        keys: ``(..., n, d)``.
        most: how many; where there are fewer, zeros follow.

    Returns:
        ``(..., most)`` float64.
    """
    values = torch.linalg.eigvalsh(keys.double().mT @ keys.double()).flip(-1)[..., :most]
    values = functional.pad(values.clamp_min(0), (0, most - values.shape[-1]))
    return functional.normalize(values, p=1, dim=-1)


def complements(clip: Tensor, other: Tensor, *, swapped: bool = False) -> tuple[Tensor, Tensor]:
    """Pair heads so that the spectra of pairs are as different as they can be together.

    Args:
        clip, other: spectra of one picture's heads, ``(H, m)`` and ``(H', m)``.
        swapped: read a pair the wrong way round, as the released code does (custom_attn): where
            the other's head i goes with CLIP's head j, take CLIP's head i with the other's j. Needs
            as many heads on both sides.

    Returns:
        For each of CLIP's heads the other's, ``(H,)``, and how different the pair's spectra are,
        ``(H,)`` float64: 0 for a head without a partner.
    """
    distances = torch.cdist(other, clip, p=1).cpu()
    found = linear_sum_assignment(distances.numpy(), maximize=True)
    rows, columns = (torch.from_numpy(indices) for indices in found)
    ours, theirs = (rows, columns) if swapped else (columns, rows)
    partner, weight = torch.zeros(len(clip)).long(), torch.zeros(len(clip)).double()
    partner[ours], weight[ours] = theirs, distances[rows, columns]
    return partner.to(clip.device), weight.to(clip.device)


def decomposed(keys: Tensor) -> Decomposition:
    """The graphs ``keys @ keys.mT`` of keys ``(..., n, d)``, whole; in float64."""
    keys = keys.double()
    squared, channels = torch.linalg.eigh(keys.mT @ keys)
    rank = min(keys.shape[-2:])
    values, channels = squared.flip(-1)[..., :rank], channels.flip(-1)[..., :rank]
    values = values.clamp_min(torch.finfo(values.dtype).eps)
    left = keys @ channels / values.sqrt()[..., None, :]
    return Decomposition(left, values, left)


def low_rank(graph: Decomposition, *, rank: int | None, energy: float, stretch: bool) -> Tensor:
    """Graphs from their leading singular values, without loops; ``(..., n, n)`` float32.

    Args:
        rank: how many values to take; None takes the fewest that make up ``energy`` of the sum.
        stretch: first spread the values taken over half the least to one and a half times the
            largest of them.
    """
    values = graph.values
    if rank is None:
        before = values.cumsum(-1) - values
        taken = before < energy * values.sum(-1, keepdim=True)
    else:
        taken = (torch.arange(values.shape[-1], device=values.device) < rank).expand_as(values)
    if stretch:
        least = values.where(taken, torch.inf).amin(-1, keepdim=True)
        values = fitted(values, least, values[..., :1], least / 2, values[..., :1] * 1.5)
    scaled = graph.left * values.where(taken, 0)[..., None, :]
    found = scaled.float() @ graph.right.mT.float()  # no whole graph exists in float64
    found.diagonal(dim1=-2, dim2=-1).zero_()
    return found


def to_range_of(found: Tensor, other: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Shift and scale so that over ``dims`` the least and the largest value are the other's."""
    bounds = [(t.amin(dims, keepdim=True), t.amax(dims, keepdim=True)) for t in (found, other)]
    return fitted(found, *bounds[0], *bounds[1])


def fitted(values: Tensor, least: Tensor, most: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The line through (least, low) and (most, high); low where the first two are equal."""
    span = (most - least).clamp_min(torch.finfo(values.dtype).tiny)
    return (values - least) / span * (high - low) + low
