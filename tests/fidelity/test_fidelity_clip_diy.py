"""CLIP-DIY's maps against what the released function made of a picture, with a matrix as CLIP."""

from __future__ import annotations

import torch
from oracles import require_close, vectors

from ovbench.adapters.clip_diy import averaged, crops_of

PATCHES = (64, 32, 16)


def test_clip_diy_cuts_and_averages_as_the_released_function() -> None:
    stored = vectors("clip_diy")
    (pixels,), side = stored["pixels"], stored["pixels"].shape[-1]
    grids = []
    for scale, patch in enumerate(PATCHES):
        colours = crops_of(pixels, patch, patch // 2).mean(dim=(-2, -1))
        grids.append(torch.einsum("rcd,dq->qrc", colours, stored["encoder"]))
        alone = averaged(grids[-1:], side)[None, :, ::2, ::2]
        require_close(alone, stored[f"scale{scale}"])
    require_close(averaged(grids, side)[None, :, ::2, ::2], stored["mean_map"])
