"""Numbers that released functions computed from random weights, and the tower they belong to.

Every file names the repository, the commit and the function in its header. ``data/oracles/`` holds
copies; ``data/oracles/README.md`` says what each tensor is.
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any, TypeVar

import open_clip
import pytest
import torch
from agreement import DATA
from safetensors import safe_open
from torch import Tensor, nn

from ovbench.adapters.parts import dense_clip
from ovbench.adapters.parts.dense_clip import DenseCLIP
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.clip.model import CLIP
from ovbench.models.clip.trunk import Trunk

M = TypeVar("M", bound=DenseCLIP)

TOLERANCE = 1e-5
"""Of the largest value; the numbers are rounded to six digits."""


@cache
def vectors(name: str) -> dict[str, Tensor]:
    """A file's tensors; float16 as float32."""
    with safe_open(DATA / "oracles" / f"{name}.safetensors", "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
    return {k: v.float() if v.dtype == torch.float16 else v for k, v in tensors.items()}


def header(name: str) -> dict[str, str]:
    """What a file says of itself."""
    with safe_open(DATA / "oracles" / f"{name}.safetensors", "pt") as file:
        return dict(file.metadata())


def picture(name: str) -> Tensor:
    """A normalised input, ``(1, 3, H, W)``: "square", "wide" or "small"."""
    return vectors("images")[name]


def require_close(found: Tensor, expected: Tensor, tolerance: float = TOLERANCE) -> float:
    """The largest difference over the largest value, which must not pass the tolerance."""
    assert found.shape == expected.shape, (found.shape, expected.shape)
    difference = float((found - expected).abs().max() / expected.abs().max())
    assert difference <= tolerance, difference
    return difference


def rows(features: Tensor) -> Tensor:
    """``(B, d, h, w)`` as the files have it, ``(B, h * w, d)``."""
    return features.flatten(2).mT


def built(monkeypatch: pytest.MonkeyPatch, method: type[M], **settings: Any) -> M:
    """The method on the tower that the numbers belong to."""
    monkeypatch.setattr(dense_clip, "load_clip", lambda *_: clip())
    return method(method.Settings(**settings), Runtime())  # type: ignore[attr-defined]


def clip() -> CLIP:
    """A CLIP of which only the image tower is real: twelve blocks of random weights."""
    model = _Model()
    record = CheckpointRecord("clip", "random weights", None, None)
    return CLIP(model, lambda texts: torch.zeros(len(texts), 77).long(), record, Runtime())


def attention_alone(
    tokens: Tensor, weights: dict[str, Tensor], heads: int, grid: tuple[int, int]
) -> Trunk:
    """A block that is nothing but its attention; ``(B, n, width)`` tokens enter that as they are.

    Args:
        weights: ``in_proj_weight``, ``in_proj_bias``, ``out_proj.weight``, ``out_proj.bias``.
    """
    attention = nn.MultiheadAttention(tokens.shape[-1], heads)
    attention.load_state_dict(weights)
    block = SimpleNamespace(attn=attention, ln_1=nn.Identity(), ls_1=nn.Identity())
    return Trunk(None, block, tokens, grid, {}, {})


class _Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.visual: Any = open_clip.transformer.VisionTransformer(
            image_size=224,
            patch_size=16,
            width=64,
            layers=12,
            heads=2,
            mlp_ratio=4.0,
            output_dim=24,
            act_layer=open_clip.transformer.QuickGELU,
        )
        weights = vectors("clip_visual")
        self.visual.load_state_dict({k.removeprefix("visual."): v for k, v in weights.items()})
        self.visual.preprocess_cfg = {"mean": (0.5,) * 3, "std": (0.5,) * 3}
        self.logit_scale = nn.Parameter(torch.zeros(()))

    def encode_text(self, tokens: Tensor, normalize: bool = True) -> Tensor:
        """Every text alike."""
        return torch.ones(len(tokens), 24) / 24**0.5
