"""Which patches look at which: affinities of the dense-CLIP family."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def gaussian_neighbourhood(grid: tuple[int, int], sigma: float) -> Tensor:
    """How near patches are to one another, ``(h * w, h * w)`` float32 with 1 on the diagonal.

    Args:
        grid: rows and columns of patches, which are counted row by row.
        sigma: of the Gaussian, in patches.
    """
    places = _places(grid, torch.device("cpu"))
    squared = (places[:, :, None] - places[:, None]).square().sum(dim=0)
    return (squared / (-2 * sigma**2)).exp()


def cosine_graph(features: Tensor) -> Tensor:
    """How alike patches are: the cosines of their features.

    Args:
        features: ``(B, d, h, w)``, of any length.

    Returns:
        ``(B, h * w, h * w)``, patches counted row by row.
    """
    unit = functional.normalize(features.flatten(2), dim=1)
    return unit.mT @ unit


def mean_cosine(features: Tensor) -> Tensor:
    """The mean of :func:`cosine_graph` over all of it, without making it."""
    return functional.normalize(features.flatten(2), dim=1).mean(dim=2).square().sum(dim=1).mean()


def centred_softmax(
    graph: Tensor, *, beta: float, gamma: float, mean: Tensor | None = None
) -> Tensor:
    """Attention to the patches that are more alike than most, by a softmax over every row.

    Lan et al., "ProxyCLIP" (ECCV 2024), section 3.2: what is left of a cosine after ``beta`` times
    the mean of its graph, times ``gamma``; patches where that is negative are left out. A patch
    itself always stays: its cosine is the largest of its row, so that this changes nothing but
    graphs whose mean is so large that nothing would be left.

    Args:
        graph: ``(B, n, n)``, such as cosines; the mean is taken of each of the B.
        mean: another mean, of one number.

    Returns:
        ``(B, n, n)``, every row with the sum 1.
    """
    if mean is None:
        mean = graph.mean(dim=(-2, -1), keepdim=True)
    centred = (graph - beta * mean) * gamma
    own = torch.eye(graph.shape[-1], dtype=torch.bool, device=graph.device)
    return centred.masked_fill_((centred < 0) & ~own, -torch.inf).softmax(dim=-1)


def spread(graph: Tensor, features: Tensor) -> Tensor:
    """What every place takes from those it is joined with.

    Args:
        graph: ``(B, n, n)``, not negative; its rows are divided by their sums.
        features: ``(B, n, d)``.

    Returns:
        ``(B, n, d)``, of the features' dtype.
    """
    weights = graph / (graph.sum(dim=-1, keepdim=True) + 1e-6)
    return weights.to(features.dtype) @ features


def label_affinity(
    labels: Tensor, grid: tuple[int, int], *, sigma: float, check_path: bool
) -> Tensor:
    """Which patches have the same label, as ResCLIP's semantic feedback has it.

    Yang et al., "ResCLIP" (CVPR 2025); released code, generate_attention_sfr. Every row is blurred
    along the patches' numbers and divided by its sum.

    Args:
        labels: ``(B, h * w)``, row by row.
        grid: rows and columns of patches, ``(h, w)``.
        sigma: of the blur, in patches; it reaches 15 of them.
        check_path: weaken a pair by its distance where :func:`parted` says so.

    Returns:
        ``(B, h * w, h * w)`` float32.
    """
    alike = (labels[:, :, None] == labels[:, None]).float()
    if check_path:
        steps = _steps(_places(grid, labels.device))
        weaker = (-steps / steps.amax().clamp_min(1)).exp()
        alike = torch.where(parted(labels, grid), alike * weaker, alike)
    count = labels.shape[1]
    reach = min(count, 31) // 2
    beside = torch.arange(-reach, reach + 1, device=labels.device, dtype=torch.float32)
    kernel = (beside.square() / (-2 * sigma**2)).exp()
    blurred = functional.conv1d(alike.reshape(-1, 1, count), kernel[None, None], padding=reach)
    return functional.normalize(blurred.reshape_as(alike), p=1, dim=-1)


def parted(labels: Tensor, grid: tuple[int, int]) -> Tensor:
    """Whether another label lies between two patches, ``(B, h * w, h * w)`` bool.

    The line from the first to the second is looked at in one place more than it has steps, but
    these are as far apart as on the longest line of the grid: of a short line only its beginning
    is seen. The released code has it so.

    Args:
        labels: ``(B, h * w)``, row by row.
        grid: rows and columns of patches, ``(h, w)``.
    """
    places = _places(grid, labels.device)
    steps = _steps(places)
    starts, ends = places[:, :, None], places[:, None]
    own = labels[:, :, None]
    found = torch.zeros_like(own == labels[:, None])
    # Where a line passes between two patches, float32 decides: in the released code's order.
    for step, way in enumerate(torch.linspace(0, 1, int(steps.amax()) + 1).tolist()):
        row, column = (starts * (1 - way) + ends * way).round()
        found |= (labels[:, (row * grid[1] + column).long()] != own) & (step <= steps)
    return found


def _places(grid: tuple[int, int], device: torch.device) -> Tensor:
    """Row and column of every patch, ``(2, h * w)`` float32."""
    rows, columns = (torch.arange(side, device=device, dtype=torch.float32) for side in grid)
    return torch.cartesian_prod(rows, columns).reshape(-1, 2).T


def _steps(places: Tensor) -> Tensor:
    """Steps from each place to each, diagonal ones too, ``(n, n)``."""
    return (places[:, :, None] - places[:, None]).abs().amax(dim=0)
