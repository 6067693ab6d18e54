"""The file of MAE's authors, against timm's own transformer with the same weights."""

from __future__ import annotations

from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.patches import encoder as patch_encoder
from ovbench.models.patches.encoder import load_patch_encoder
from ovbench.models.weights.checkpoints import Located


def published(at: Path) -> Any:
    """A small one of two heads, and its file, which also holds a decoder and the arguments."""
    norm = partial(nn.LayerNorm, eps=1e-6)
    model = VisionTransformer(32, 8, num_classes=0, embed_dim=128, depth=2, num_heads=2,
                              norm_layer=norm)  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    for weight in model.parameters():
        weight.data = torch.randn(weight.shape, generator=generator) * 0.1
    weights = {**model.state_dict(), "mask_token": torch.zeros(1, 1, 128)}
    torch.save({"model": weights, "args": Namespace(epochs=1600)}, at)
    return model.eval()


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "mae.pth"
    located = Located(path, (CheckpointRecord("dino", "mae.pth", None, None),))
    monkeypatch.setattr(patch_encoder, "locate", lambda *_: located)
    return path


def test_keys_and_tokens_are_those_of_timm(file: Path) -> None:
    model = published(file)
    keys: list[Tensor] = []
    attention = model.blocks[-1].attn
    attention.qkv.register_forward_hook(lambda *a: keys.append(a[-1].chunk(3, dim=-1)[1]))
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        tokens = model.forward_features(images)
    encoder = load_patch_encoder("dino", "mae", Runtime())
    assert (encoder.image_size, encoder.patch_size, encoder.layers) == (32, 8, 2)
    for found, expected in (
        (encoder.features(images, facet="key"), keys[0]),
        (encoder.features(images, norm=True), tokens),
    ):
        wanted = expected[:, 1:].mT.reshape(2, 128, 4, 4)
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def test_another_file(file: Path) -> None:
    torch.save({"model": {"weight": torch.zeros(1)}}, file)
    with pytest.raises(UsageError, match=r"mae\.pth: cannot be loaded: no weights of MAE"):
        load_patch_encoder("dino", "mae", Runtime())
