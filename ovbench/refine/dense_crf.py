"""Fully connected conditional random fields with Gaussian edges.

Krähenbühl and Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge
Potentials" (NIPS 2011): mean field with Potts compatibility, a smoothness kernel over places
and an appearance kernel over places and colours, filtered on the permutohedral lattice. The
same numbers as the authors' C++ code behind ``pydensecrf``, up to rounding, on CPU and GPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce

import numpy as np
import numpy.typing as npt
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

_NORM_EPSILON = 1e-20
"""As in the authors' code."""


@dataclass(frozen=True, slots=True)
class DenseCRF:
    """A dense CRF; the defaults are CutLER's (Wang et al., CVPR 2023, maskcut/crf.py).

    Attributes:
        iterations: of mean field.
        spatial_weight, spatial_std: of the smoothness kernel; pixels.
        bilateral_weight, bilateral_std: of the appearance kernel; pixels.
        colour_std: of the appearance kernel, in colour values of 0..255.
    """

    iterations: int = 10
    spatial_weight: float = 7.0
    spatial_std: float = 3.0
    bilateral_weight: float = 10.0
    bilateral_std: float = 50.0
    colour_std: float = 5.0

    def posterior(
        self, image: npt.NDArray[np.uint8], unary: Tensor, copies: Sequence[int] | None = None
    ) -> Tensor:
        """Every class's probability at every pixel.

        Args:
            image: ``(H, W, 3)`` uint8.
            unary: ``(C, H, W)`` float32, negative log-probabilities up to a constant per pixel.
            copies: per plane, how many classes it stands for. Classes whose unaries are equal
                at every pixel stay equal throughout mean field, so one plane can do the work
                of all of them, exactly. Default: one each.

        Returns:
            ``(C, H, W)`` float32 on ``unary``'s device: of one class of each plane.

        Raises:
            ValueError: shapes or types that do not fit.
        """
        field = self._solve(image, unary, copies)
        result = torch.empty_like(unary).reshape(len(unary), -1)
        share = field.total.reciprocal()
        groups = result.tensor_split(len(field.masses))
        for part, mass in zip(groups, field.masses, strict=True):
            torch.mul(mass.T, share, out=part)
        return result.reshape(unary.shape)

    def labels(
        self, image: npt.NDArray[np.uint8], unary: Tensor, copies: Sequence[int] | None = None
    ) -> Tensor:
        """The plane of the most probable class at every pixel, without the posterior's memory.

        Returns:
            ``(H, W)`` int64; the first of equally probable planes.
        """
        best, label, first = None, None, 0
        for mass in self._solve(image, unary, copies).masses:
            value, index = mass.max(dim=1)
            index += first
            first += mass.shape[1]
            if best is None or label is None:
                best, label = value, index
            else:
                label = torch.where(value > best, index, label)
                best = torch.maximum(best, value)
        assert label is not None  # there is at least one plane
        return label.reshape(unary.shape[1:])

    @torch.no_grad()
    def _solve(
        self, image: npt.NDArray[np.uint8], unary: Tensor, copies: Sequence[int] | None
    ) -> Field:
        _check(image, unary, copies)
        flat = unary.reshape(len(unary), -1)
        kernels = self._kernels(image, unary.device)
        field = Field(flat, flat.new_tensor(copies or [1] * len(flat)), kernels)
        for _ in range(self.iterations):
            field.update()
        return field

    def _kernels(self, image: npt.NDArray[np.uint8], device: torch.device) -> list[Lattice]:
        height, width = image.shape[:2]
        smoothness = (height, width, self.spatial_std, self.spatial_weight, device)
        places = _places(height, width, device) / self.bilateral_std
        colours = torch.tensor(image, device=device).reshape(-1, 3) / self.colour_std
        appearance = (torch.cat([places, colours], dim=1), self.bilateral_weight)
        return [_spatial_kernel(*smoothness), _kernel(*appearance)]


def unary_from_probabilities(probabilities: Tensor, clip: float = 1e-5) -> Tensor:
    """Unaries from probabilities of any shape, kept away from 0 as ``pydensecrf.utils`` does."""
    return probabilities.clamp(clip, 1.0).log_().neg_()


class Field:
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


def _places(height: int, width: int, device: torch.device) -> Tensor:
    """Column and row of every pixel; ``(H * W, 2)`` float32."""
    rows, columns = torch.meshgrid(
        torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij"
    )
    return torch.stack([columns, rows], dim=-1).reshape(-1, 2).float()


@lru_cache(maxsize=2)  # images of a batch often have one size, turned or not
def _spatial_kernel(
    height: int, width: int, std: float, weight: float, device: torch.device
) -> Lattice:
    return _kernel(_places(height, width, device) / std, weight)


def _kernel(features: Tensor, weight: float) -> Lattice:
    """A Gaussian kernel between points, normalised symmetrically: the shares have all of it."""
    lattice = build_lattice(features)
    ones = features.new_ones(len(features), 1)
    norm = (lattice.filter(ones)[:, 0] + _NORM_EPSILON).rsqrt_()
    lattice.point_shares.mul_(norm.index_select(0, lattice.points))
    lattice.shares.mul_((norm * (lattice.scale * weight))[:, None])
    return lattice


def _check(image: npt.NDArray[np.uint8], unary: Tensor, copies: Sequence[int] | None) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image must be (H, W, 3) uint8, not {image.shape} {image.dtype}")
    if unary.dtype != torch.float32 or not len(unary) or unary.shape[1:] != image.shape[:2]:
        raise ValueError(
            f"unary must be (C, {image.shape[0]}, {image.shape[1]}) float32 with at least one "
            f"class, not {tuple(unary.shape)} {unary.dtype}"
        )
    if copies is not None and (len(copies) != len(unary) or min(copies) < 1):
        raise ValueError(f"copies must be {len(unary)} positive numbers")
