"""Regions of a window that look alike become one, and which of its places may look at which.

Zhang, Liu and Tang, "CorrCLIP" (ICCV 2025), sections 3.3 and 3.4; released code, CorrCLIPv1,
open_clip/transformer.py. Regions are numbers per place, from 0; 0 is the smallest number that a
window has, which the released code takes for what no mask covers, whether it is that or not.
"""

from __future__ import annotations

import torch
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor
from torch.nn.functional import interpolate, normalize, one_hot


def on_places(numbers: Tensor, grid: tuple[int, int]) -> Tensor:
    """Numbers ``(B, H, W)`` on another grid, ``(B, h, w)`` int64, by the nearest place."""
    return interpolate(numbers[:, None].float(), grid, mode="nearest")[:, 0].long()


def renumbered(numbers: Tensor) -> Tensor:
    """Each window's numbers ``(B, h, w)`` without gaps, in their order, from 0."""
    return torch.stack([torch.unique(one, return_inverse=True)[1] for one in numbers])


def merged(numbers: Tensor, features: Tensor, distance: float) -> Tensor:
    """Join the regions of a window whose mean features are near.

    DBSCAN whose clusters may have one member, as released, is what is connected by steps of at most
    the distance. Region 0 takes no part, and nothing is joined where there are two regions.

    Args:
        numbers: ``(h, w)`` int64, without gaps.
        features: ``(d, h, w)``, compared by their directions.
        distance: the largest cosine among the regions less theirs.

    Returns:
        ``(h, w)`` int64, without gaps.
    """
    count = int(numbers.max()) + 1
    if count <= 2:
        return numbers
    unit = normalize(features.flatten(1), dim=0)
    members = one_hot(numbers.flatten(), count).to(unit.dtype)
    means = normalize(members.T @ unit.T, dim=1)[1:]
    cosines = means @ means.T
    near = (cosines.max() - cosines <= distance).cpu().numpy()
    _, clusters = connected_components(csr_matrix(near), directed=False)
    table = torch.cat([torch.zeros(1).long(), torch.from_numpy(clusters).long() + 1])
    return table.to(numbers.device)[numbers]


def allowed_pairs(graph: Tensor, numbers: Tensor) -> Tensor:
    """Which places may look at which, ``(B, n, n)`` bool.

    Those of one region; and, where one of the two is in region 0, those more alike than the mean.
    A place itself always may, which changes nothing but windows that are alike all over.

    Args:
        graph: ``(B, n, n)``, such as cosines.
        numbers: ``(B, n)`` int64.
    """
    free = numbers == 0
    some_free = free[:, :, None] | free[:, None]
    alike = graph > graph.mean(dim=(-2, -1), keepdim=True)
    own = torch.eye(graph.shape[-1], dtype=torch.bool, device=graph.device)
    return torch.where(some_free, alike, numbers[:, :, None] == numbers[:, None]) | own
