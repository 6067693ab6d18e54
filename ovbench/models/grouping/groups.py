"""What all networks of this folder find in a picture: groups of its patches, beside its texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from ovbench.harness.contract.runtime import CheckpointRecord

MOST_SHARPLY = 100.0
"""The limit of the factor on cosines, as in CLIP."""


class Groups(NamedTuple):
    """What is found in pictures.

    Attributes:
        vectors: ``(B, G, d)`` float32, of every group, of unit length in the space of texts.
        image: ``(B, d)`` float32, of the whole picture, likewise.
        shares: ``(B, G, h, w)`` float32, how much each patch belongs to each group.
    """

    vectors: Tensor
    image: Tensor
    shares: Tensor

    @classmethod
    def of(cls, joint: Tensor, shares: Tensor, grid: tuple[int, int]) -> Groups:
        """From what was projected.

        Args:
            joint: ``(B, G + 1, d)``, the whole picture's last, of any length.
            shares: ``(B, G, h * w)``.
            grid: ``(h, w)``.
        """
        unit = functional.normalize(joint.float(), dim=-1)
        return cls(unit[:, :-1], unit[:, -1], shares.float().reshape(*shares.shape[:2], *grid))


class Grouper(Protocol):
    """A frozen network that gathers patches into groups which texts can name.

    Attributes:
        checkpoints: which weights these are.
        patch: pixels along a side of a patch.
        image_size: side of the pictures that it was trained on.
    """

    checkpoints: tuple[CheckpointRecord, ...]
    device: torch.device
    patch: int
    image_size: int

    @property
    def logit_scale(self) -> float:
        """The learned factor on cosines, at most :data:`MOST_SHARPLY`."""

    def embed_queries(self, queries: Sequence[str], templates: Sequence[str]) -> Tensor:
        """Queries, such as ``"cat"``: the mean over templates of projected texts, of unit length.

        Returns:
            ``(n, d)`` float32.
        """

    def groups(self, images: Tensor) -> Groups:
        """The groups of pictures.

        Args:
            images: ``(B, 3, H, W)``, normalised as the network was trained; what a side has over
                a multiple of :attr:`patch` is not seen.
        """
