"""Which patches look at which: affinities of the dense-CLIP family."""

from __future__ import annotations

import torch
from torch import Tensor


def gaussian_neighbourhood(grid: tuple[int, int], sigma: float) -> Tensor:
    """How near patches are to one another, ``(h * w, h * w)`` float32 with 1 on the diagonal.

    Args:
        grid: rows and columns of patches, which are counted row by row.
        sigma: of the Gaussian, in patches.
    """
    rows, columns = (torch.arange(side, dtype=torch.float32) for side in grid)
    places = torch.cartesian_prod(rows, columns).reshape(-1, 2)
    squared = (places[:, None] - places).square().sum(dim=-1)
    return (squared / (-2 * sigma**2)).exp()
