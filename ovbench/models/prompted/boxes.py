"""What detectors find."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Boxes(NamedTuple):
    """Places that may show something.

    Attributes:
        places: ``(n, 4)`` float32: left, top, right, bottom in pixels of the picture.
        logits: ``(n, Q)`` float32, of every text.
    """

    places: Tensor
    logits: Tensor

    @classmethod
    def at(
        cls, relative: Tensor, seen: tuple[int, int], size: tuple[int, int], logits: Tensor
    ) -> Boxes:
        """From what these networks say of places; what lies outside of the picture is cut off.

        Args:
            relative: ``(n, 4)``: centre, width and height, as shares of what was seen.
            seen: height and width of that in pixels of the picture, filling included.
            size: height and width of the picture.
        """
        whole = torch.tensor([seen[1], seen[0]], device=relative.device)
        limits = torch.tensor([size[1], size[0]] * 2, device=relative.device)
        centre, extent = relative[:, :2] * whole, relative[:, 2:] * whole
        places = torch.cat([centre - extent / 2, centre + extent / 2], dim=1)
        return cls(torch.minimum(places.clamp_min(0), limits), logits)
