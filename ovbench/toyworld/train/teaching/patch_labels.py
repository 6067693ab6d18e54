"""What the packaged miniature CLIP calls the patches of scenes whose captions it is told."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from ovbench.models.clip.model import CLIP
from ovbench.toyworld.quality.localisation import TEMPLATES
from ovbench.toyworld.train.teaching.bank import SceneBank
from ovbench.toyworld.train.teaching.windows import Window, span
from ovbench.toyworld.world import NAMES, SIZE

SIDE = 2 * SIZE
"""Pixels that scenes are enlarged to for CLIP."""

_CHUNK = 20


class PatchLabels:
    """MaskCLIP's cosines with all classes, of every scene of a bank, measured once.

    Attributes:
        grid: patches along a side of a scene.
    """

    def __init__(self, clip: CLIP, bank: SceneBank) -> None:
        mean, std = (torch.tensor(v)[:, None, None] for v in (clip.mean, clip.std))
        texts, found = clip.embed_queries(NAMES, TEMPLATES), []
        for start in range(0, len(bank), _CHUNK):
            images, _ = bank.take(np.arange(start, min(start + _CHUNK, len(bank))))
            pixels = (torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - mean) / std
            pixels = F.interpolate(pixels, (SIDE, SIDE), mode="bicubic")
            values = F.normalize(clip.dense_features(pixels, residual=False).values, dim=1)
            found.append(torch.einsum("ndhw,kd->nkhw", values, texts).half().cpu())
        self._cosines = torch.cat(found)
        self.grid = self._cosines.shape[-1]

    def of(
        self,
        indices: npt.NDArray[np.int64],
        window: Window,
        grid: int,
        present: npt.NDArray[np.bool_],
    ) -> Tensor:
        """The nearest class that is named, of every patch of a window.

        Args:
            indices: of scenes, ``(n,)``.
            window: its corner and side are multiples of a patch here.
            grid: patches along its side there.
            present: ``(n, 15)``, the classes that are named.

        Returns:
            ``(n, grid * grid)`` int64.
        """
        cell = SIZE // self.grid
        top, left, side = (length // cell for length in window[:3])
        there = self._cosines[torch.from_numpy(indices), :, span(top, side), span(left, side)]
        size = (grid, grid)
        resized = F.interpolate(
            there.float(), size, mode="bilinear", align_corners=False, antialias=True
        )
        named = torch.from_numpy(present)[..., None, None]
        return resized.masked_fill(~named, -2.0).argmax(dim=1).flatten(1)
