"""From what SAM 3 finds of a class to one score per pixel, and from these to labels.

Li et al., "SegEarth-OV3" (arXiv:2512.08730); released code:
github.com/earth-insights/SegEarth-OV-3, segearthov3_segmentor.py. The rule that counts margins is
ActiveSAM's (Tien and Shen, arXiv:2606.16996; activesam/background/mabc.py).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional

AT_A_TIME = 8
"""Masks at full size together; at 1024 x 2048 pixels they take 67 MB in float32."""


def enlarged(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Masks ``(n, h, w)`` resized bilinearly as logits, then as probabilities ``(n, H, W)``."""
    return functional.interpolate(
        logits[:, None], size, mode="bilinear", align_corners=False
    ).sigmoid_()[:, 0]


def fused(
    instances: Iterable[tuple[Tensor, Tensor]], semantic: Tensor | None, gate: Tensor | None
) -> Tensor | None:
    """The score of one query at every pixel.

    Args:
        instances: some masks at a time: probabilities ``(n, H, W)``, and ``(n,)`` how sure each is.
        semantic: ``(H, W)``, probabilities of the query as a whole; None where it does not count.
        gate: how sure it is that the picture shows the query, a scalar that multiplies the score.

    Returns:
        ``(H, W)``, None where neither kind of mask is there: the score is 0 then.
    """
    best = semantic
    for masks, scores in instances:
        strongest = (masks * scores[:, None, None]).amax(dim=0)
        best = strongest if best is None else torch.maximum(best, strongest)
    return best if best is None or gate is None else best * gate


class Ranking:
    """The best label at every pixel, and how far it is ahead; labels come one after another.

    Attributes:
        label: ``(H, W)`` int32.
        best, second: ``(H, W)`` float32, scores of the best label and of the next; no score is
            less than 0, which all that nobody looked for have.
    """

    def __init__(self, size: tuple[int, int], first: int, device: torch.device) -> None:
        """Begin with one label everywhere: of equal scores the first one counts."""
        self.label = torch.full(size, first, dtype=torch.int32, device=device)
        self.best = torch.zeros(size, device=device)
        self.second = torch.zeros(size, device=device)

    def add(self, label: int, scores: Tensor) -> None:
        """The scores ``(H, W)`` of another label; labels come in ascending order."""
        ahead = scores > self.best
        self.second = torch.where(ahead, self.best, torch.maximum(self.second, scores))
        self.best = torch.where(ahead, scores, self.best)
        self.label[ahead] = label

    def labels(self, background_below: float, margin_exponent: float | None) -> Tensor:
        """The labels, 0 where the best score is too low.

        Args:
            background_below: least score; 0 keeps all.
            margin_exponent: the score is first multiplied by the square root of its margin, and the
                least score is raised to this power; None leaves both as they are.
        """
        sure, least = self.best, background_below
        if margin_exponent is not None:
            sure = self.best * (self.best - self.second).clamp_min(0).sqrt()
            least = background_below**margin_exponent
        return self.label if background_below <= 0 else self.label.masked_fill(sure < least, 0)
