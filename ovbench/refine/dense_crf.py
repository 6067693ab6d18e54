"""Fully connected conditional random fields with Gaussian edges.

Krähenbühl and Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge
Potentials" (NIPS 2011): mean field with Potts compatibility, a smoothness kernel over places
and an appearance kernel over places and colours, filtered on the permutohedral lattice. The
same numbers as the authors' C++ code behind ``pydensecrf``, up to rounding, on CPU and GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from types import ModuleType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ovbench.refine import mean_field


class _MeanField(Protocol):
    """What a module of loops has under the name of ``MeanField``."""

    def update(self) -> None: ...
    def labels(self) -> Tensor: ...
    def posterior(self) -> Tensor: ...


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
        return self._solve(image, unary, copies).posterior().reshape(unary.shape)

    def labels(
        self, image: npt.NDArray[np.uint8], unary: Tensor, copies: Sequence[int] | None = None
    ) -> Tensor:
        """The plane of the most probable class at every pixel, without the posterior's memory.

        Returns:
            ``(H, W)`` int64; the first of equally probable planes.
        """
        return self._solve(image, unary, copies).labels().reshape(unary.shape[1:])

    @torch.no_grad()
    def _solve(
        self, image: npt.NDArray[np.uint8], unary: Tensor, copies: Sequence[int] | None
    ) -> _MeanField:
        _check(image, unary, copies)
        flat = unary.reshape(len(unary), -1)
        loops = _loops(unary.device.type)
        kernels = self._kernels(image, unary.device, loops.kernel)
        field: _MeanField = loops.MeanField(
            flat, flat.new_tensor(copies or [1] * len(flat)), kernels
        )
        for _ in range(self.iterations):
            field.update()
        return field

    def _kernels(
        self, image: npt.NDArray[np.uint8], device: torch.device, kernel: Callable[..., Any]
    ) -> list[Any]:
        height, width = image.shape[:2]
        smoothness = (height, width, self.spatial_std, self.spatial_weight, device)
        places = _places(height, width, device) / self.bilateral_std
        colours = torch.tensor(image, device=device).reshape(-1, 3) / self.colour_std
        appearance = (torch.cat([places, colours], dim=1), self.bilateral_weight)
        return [_spatial_kernel(*smoothness, kernel), kernel(*appearance)]


def unary_from_probabilities(probabilities: Tensor, clip: float = 1e-5) -> Tensor:
    """Unaries from probabilities of any shape, kept away from 0 as ``pydensecrf.utils`` does."""
    return probabilities.clamp(clip, 1.0).log_().neg_()


def _places(height: int, width: int, device: torch.device) -> Tensor:
    """Column and row of every pixel; ``(H * W, 2)`` float32."""
    rows, columns = torch.meshgrid(
        torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij"
    )
    return torch.stack([columns, rows], dim=-1).reshape(-1, 2).float()


@lru_cache(maxsize=2)  # images of a batch often have one size, turned or not
def _spatial_kernel(
    height: int,
    width: int,
    std: float,
    weight: float,
    device: torch.device,
    kernel: Callable[[Tensor, float], Any],
) -> Any:
    return kernel(_places(height, width, device) / std, weight)


def _loops(device: str) -> ModuleType:
    """Where mean field is: of compiled loops on a CPU, if numba can be imported, or of tensors."""
    return (_compiled() if device == "cpu" else None) or mean_field


@cache
def _compiled() -> ModuleType | None:
    try:
        from ovbench.refine.compiled import mean_field as compiled
    except ImportError:  # missing, or made for another numpy
        return None
    return compiled


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
