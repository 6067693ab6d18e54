"""A RADIO of a size at which tests are fast, by timm's blocks, and its file as its authors have."""

from __future__ import annotations

from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional

from ovbench.models.radio.heads import Head

WIDTH, HEADS, PATCH, SIDE, TOKENS = 32, 4, 16, 8, 7
TEACHERS = [
    {"name": "clip", "type": "open_clip"},
    {"name": "siglip2", "type": "siglip2", "model": "siglip2-g-384"},
    {"name": "sam", "type": "sam", "use_summary": False},
]


class TinyRadio(nn.Module):
    """By the names of the released code: ``base_model``, ``_heads``, ``_feature_projections``."""

    def __init__(self, joint: int, channels: int = 20, norm: bool = False) -> None:
        super().__init__()
        generator = nn.Module()
        generator.pos_embed = nn.Parameter(torch.randn(1, SIDE * SIDE, WIDTH))
        generator.cls_token = nn.Module()
        generator.cls_token.token = nn.Parameter(torch.randn(TOKENS, WIDTH))
        generator.embedder = nn.Linear(3 * PATCH * PATCH, WIDTH, bias=False)
        self.base_model = nn.Module()
        self.base_model.patch_generator = generator
        layer_norm: Any = partial(nn.LayerNorm, eps=1e-6)
        self.base_model.blocks = nn.ModuleList(
            Block(WIDTH, HEADS, qkv_bias=True, norm_layer=layer_norm) for _ in range(3)
        )
        if norm:
            self.base_model.norm = nn.LayerNorm(WIDTH, eps=1e-6)
            nn.init.normal_(self.base_model.norm.weight)
        self._heads = nn.ModuleList(Head(WIDTH, 24, joint, inner=1) for _ in TEACHERS)
        self._feature_projections = nn.ModuleList(Head(WIDTH, 24, channels) for _ in TEACHERS)
        self.input_conditioner = nn.Module()
        for name, values in (("mean", (0.48, 0.46, 0.41)), ("std", (0.27, 0.26, 0.28))):
            self.input_conditioner.register_buffer(
                f"norm_{name}", torch.tensor(values)[:, None, None]
            )
        for weight in self.parameters():
            if weight.ndim == 2 and len(weight) != TOKENS:
                nn.init.normal_(weight, std=0.2)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised ``(B, 3, H, W)`` to patches ``(B, n, WIDTH)``, by the steps written out."""
        parts, base = self.base_model.patch_generator, self.base_model
        height, width = images.shape[2] // PATCH, images.shape[3] // PATCH
        flat = functional.unfold(images, PATCH, stride=PATCH).mT
        places = parts.pos_embed.reshape(SIDE, SIDE, WIDTH).permute(2, 0, 1)[None]
        longer = max(height, width)
        square = functional.interpolate(places, (longer, longer), mode="bilinear")
        cut = square[:, :, :height, :width].flatten(2).mT
        tokens = torch.cat([parts.cls_token.token.expand(len(images), -1, -1),
                            parts.embedder(flat) + cut], dim=1)  # fmt: skip
        for block in base.blocks:
            tokens = block(tokens)
        found: Tensor = base.norm(tokens) if hasattr(base, "norm") else tokens
        return found[:, TOKENS:]


def tiny_radio(joint: int = 24, channels: int = 20, *, norm: bool = False) -> TinyRadio:
    """With seeded weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return TinyRadio(joint, channels, norm).eval()


def arguments(**other: Any) -> Namespace:
    """What the authors keep beside the weights, as far as it is read."""
    known = {"model": "vit_base_patch16_224", "model_kwargs": {"num_heads": HEADS},
             "teachers": TEACHERS, "dtype": torch.float32}  # fmt: skip
    return Namespace(**{**known, **other})


def write(path: Path, network: TinyRadio, **other: Any) -> Path:
    """The file that the authors' loader reads."""
    torch.save({"arch": "x", "epoch": 1, "args": arguments(**other),
                "state_dict": network.state_dict()}, path)  # fmt: skip
    return path
