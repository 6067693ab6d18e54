"""Fully connected conditional random fields with Gaussian edges.

Krähenbühl and Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge
Potentials" (NIPS 2011): mean field with Potts compatibility, a smoothness kernel over places
and an appearance kernel over places and colours, filtered on the permutohedral lattice. The
same numbers as the authors' C++ code behind ``pydensecrf``, up to rounding, on CPU and GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from ovbench.refine.permutohedral import Lattice, build_lattice, join

CPU_BYTES = 24 * 2**20
"""Values of a group of classes, filtered at a time on a CPU: glibc hands back what is above
32 MiB at once, and every page would have to be faulted in again."""

GPU_BYTES = 512 * 2**20
"""The same on a GPU, where a few large steps are faster than many small ones."""

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
        share = field.total().reciprocal_()
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
        field = Field(flat, flat.new_tensor(copies or [1] * len(flat)))
        if self.iterations:
            kernel = self._kernel(image, unary.device)
            for _ in range(self.iterations):
                field.update(kernel)
        return field

    def _kernel(self, image: npt.NDArray[np.uint8], device: torch.device) -> Kernel:
        height, width = image.shape[:2]
        spatial = _spatial_kernel(height, width, self.spatial_std, device)
        places = _places(height, width, device) / self.bilateral_std
        colours = torch.tensor(image, device=device).reshape(-1, 3) / self.colour_std
        bilateral = Kernel.of(torch.cat([places, colours], dim=1))
        return Kernel.sum([(spatial, self.spatial_weight), (bilateral, self.bilateral_weight)])


def unary_from_probabilities(probabilities: Tensor, clip: float = 1e-5) -> Tensor:
    """Unaries from probabilities of any shape, kept away from 0 as ``pydensecrf.utils`` does."""
    return probabilities.clamp(clip, 1.0).log_().neg_()


class Kernel(NamedTuple):
    """A Gaussian kernel, normalised symmetrically, or a sum of such kernels.

    Attributes:
        spread: like the lattice's ``point_shares``, with the normalisation.
        collect: like its ``shares``, with the normalisation, the scale and the weight.
    """

    lattice: Lattice
    spread: Tensor
    collect: Tensor

    @classmethod
    def of(cls, features: Tensor) -> Kernel:
        """Between points with these ``(N, d)`` features, of weight 1."""
        lattice = build_lattice(features)
        ones = features.new_ones(len(features), 1)
        norm = (lattice.filter(ones)[:, 0] + _NORM_EPSILON).rsqrt_()
        spread = lattice.point_shares * norm.index_select(0, lattice.points)
        return cls(lattice, spread, lattice.shares * (norm * lattice.scale)[:, None])

    @classmethod
    def sum(cls, weighted: Sequence[tuple[Kernel, float]]) -> Kernel:
        """The weighted sum of kernels."""
        return cls(
            join([kernel.lattice for kernel, _ in weighted]),
            torch.cat([kernel.spread for kernel, _ in weighted]),
            torch.cat([kernel.collect * weight for kernel, weight in weighted], dim=1),
        )


class Field:
    """The mean field, not normalised, in groups of classes.

    Attributes:
        masses: per group ``(N, c)``: a pixel's probability of a class is its mass over
            :meth:`total`.
    """

    def __init__(self, unary: Tensor, copies: Tensor) -> None:
        """Begin at the unaries.

        Args:
            unary: ``(C, N)``.
            copies: ``(C,)`` float32.
        """
        # Messages are at least 0, so the best class's mass never falls below 1; a message
        # is at most about the sum of the weights, far from overflowing.
        best, groups = unary.amin(dim=0), _groups(unary)
        self._own = [(best - part).T.contiguous() for part in unary.tensor_split(groups)]
        self._copies = copies.tensor_split(groups)
        self.masses = [own.exp() for own in self._own]

    def total(self) -> Tensor:
        """Per pixel the mass of all classes; ``(N,)``."""
        sums = [torch.mv(m, c) for m, c in zip(self.masses, self._copies, strict=True)]
        return torch.stack(sums).sum(dim=0)

    def update(self, kernel: Kernel) -> None:
        """One parallel mean-field step."""
        # Normalising the masses is left to the weights with which they are spread.
        share = self.total().reciprocal_()
        spread = share.index_select(0, kernel.lattice.points).mul_(kernel.spread)
        for group, own in enumerate(self._own):
            table = kernel.lattice.blurred(self.masses[group], spread)
            message = embedding_bag(
                kernel.lattice.corners, table, mode="sum", per_sample_weights=kernel.collect
            )
            self.masses[group] = message.add_(own).exp_()


def _groups(unary: Tensor) -> int:
    """Into how many groups the classes of ``(C, N)`` unaries are cut."""
    count, size = unary.shape
    limit = CPU_BYTES if unary.device.type == "cpu" else GPU_BYTES
    # Fewer than 8 values would waste most of a cache line.
    together = max(8, limit // (size * unary.element_size()))
    return -(-count // together)


def _places(height: int, width: int, device: torch.device) -> Tensor:
    """Column and row of every pixel; ``(H * W, 2)`` float32."""
    rows, columns = torch.meshgrid(
        torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij"
    )
    return torch.stack([columns, rows], dim=-1).reshape(-1, 2).float()


@lru_cache(maxsize=2)  # images of a batch often have one size, turned or not
def _spatial_kernel(height: int, width: int, std: float, device: torch.device) -> Kernel:
    return Kernel.of(_places(height, width, device) / std)


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
