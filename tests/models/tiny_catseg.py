"""A CAT-Seg of a size at which tests are fast, on the weights of the released code's vectors."""

from __future__ import annotations

import json
import zlib
from typing import Any

import numpy as np
import open_clip
import torch
from oracles import header
from torch import Tensor, nn

from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.pixelwise.aggregation import Sizes
from ovbench.models.pixelwise.catseg import CATSeg, Variant, network

SIZES = Sizes(
    joint=16, width=64, hidden=16, guide=8, classes=6, read=(12, 6), shown=(8, 4), decoded=(32, 16)
)
VARIANT = Variant("ViT-B-16-quickgelu", 384, (3, 7), SIZES)

SMALL = Variant("ViT-B-16-quickgelu", 64, (0, 1), SIZES._replace(grid=4, window=2))
"""Of fewer places, for what needs no vectors."""


def by_the_authors() -> dict[str, Tensor]:
    """Weights by the names of the released code, as they were drawn for its vectors."""
    shapes: dict[str, list[int]] = json.loads(header("catseg")["shapes"])
    return {name: _drawn(name, tuple(shape)) for name, shape in shapes.items()}


def parts(variant: Variant = VARIANT) -> nn.ModuleDict:
    """Its last block behind those that are read; positions are those of a square of 64 pixels."""
    layers = variant.blocks[1] + 2
    tower: dict[str, Any] = {"image_size": 64, "patch_size": 16, "width": 64, "layers": layers}
    text: dict[str, Any] = {"width": 64, "heads": 1, "layers": 1}
    clip = open_clip.CLIP(16, {**tower, "head_width": 64}, text, quick_gelu=True)
    clip.visual.preprocess_cfg = {
        "mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD,
    }  # fmt: skip
    return network(clip, variant.sizes)


def catseg(made: nn.ModuleDict, variant: Variant = VARIANT) -> CATSeg:
    """As a method loads it."""
    return CATSeg(made, variant, CheckpointRecord("catseg", "tiny", None, None), Runtime())


def _drawn(name: str, shape: tuple[int, ...]) -> Tensor:
    draw = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    draw = np.asarray(draw, np.float32)
    if len(shape) > 1:
        draw = draw * np.float32(_scale(name) * np.prod(shape[1:]) ** -0.5)
    elif name.endswith("weight"):
        draw = 1 + np.float32(0.3) * draw
    else:
        draw = np.float32(0.3) * draw
    return torch.from_numpy(np.asarray(draw))


def _scale(name: str) -> int:
    """Larger where texts would hardly differ otherwise."""
    if "token_embedding" in name or "transformer.conv1" in name:
        return 20
    return 30 if "clip_model.transformer" in name and "v_proj_weight" in name else 2
