"""The file of a distilled DeiT's authors, against timm's own transformer with the same weights."""

from __future__ import annotations

from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from timm.models.deit import VisionTransformerDistilled
from torch import nn

from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.patches import encoder as patch_encoder
from ovbench.models.patches.deit_file import deit, deit_names
from ovbench.models.patches.encoder import load_patch_encoder
from ovbench.models.weights.checkpoints import Located


def published(at: Path, **changes: Any) -> Any:
    """A small one of two heads, and its file with the classifiers and the arguments."""
    norm = partial(nn.LayerNorm, eps=1e-6)
    model = VisionTransformerDistilled(img_size=32, patch_size=8, num_classes=3, embed_dim=128,
                                       depth=2, num_heads=2, norm_layer=norm)  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    for weight in model.parameters():
        weight.data = torch.randn(weight.shape, generator=generator) * 0.1
    state = {**model.state_dict(), **changes}
    kept = {name: weight for name, weight in state.items() if weight is not None}
    torch.save({"model": kept, "args": Namespace(epochs=300)}, at)
    return model.eval()


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "deit.pth"
    located = Located(path, (CheckpointRecord("dino", "deit.pth", None, None),))
    monkeypatch.setattr(patch_encoder, "locate", lambda *_: located)
    return path


def test_tokens_are_those_of_timm_without_its_two_special_ones(file: Path) -> None:
    model = published(file)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        tokens = model.forward_features(images)
    encoder = load_patch_encoder("dino", "deit", Runtime())
    assert (encoder.image_size, encoder.patch_size, encoder.layers) == (32, 8, 2)
    wanted = tokens[:, 2:].mT.reshape(2, 128, 4, 4)
    found = encoder.features(images, norm=True)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def test_positions_come_to_another_grid_by_the_bicubic_kernel_alone(file: Path) -> None:
    """ReCo's code interpolates without antialiasing, to the grid's size."""
    model = published(file)
    stored = model.pos_embed.detach()
    patches = stored[:, 2:].mT.reshape(1, 128, 4, 4)
    wanted = nn.functional.interpolate(patches, (6, 5), mode="bicubic", align_corners=False)
    encoder = load_patch_encoder("dino", "deit", Runtime())
    found = encoder._model.embeddings(torch.zeros(1, 3, 48, 40), interpolate_pos_encoding=True)
    bias = model.patch_embed.proj.bias.detach()
    expected = wanted[0].flatten(1).mT + bias
    torch.testing.assert_close(found[0, 2:], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"norm.bias": None}, r"it lacks layernorm\.bias"),
        ({"mask_token": torch.zeros(1)}, "it has in addition mask_token"),
        ({"patch_embed.proj.weight": None}, "it lacks 'patch_embed.proj.weight'"),
    ],
)
def test_weights_that_are_not_exactly_its_own_are_named(
    file: Path, changes: dict[str, Any], fault: str
) -> None:
    published(file, **changes)
    with pytest.raises(UsageError, match=rf"deit\.pth: is not what was expected: {fault}"):
        load_patch_encoder("dino", "deit", Runtime())


def test_the_published_size_is_deit_small() -> None:
    with torch.device("meta"):
        model = deit()
        theirs = VisionTransformerDistilled(
            img_size=224, patch_size=16, embed_dim=384, depth=12, num_heads=6
        )
    names = deit_names(theirs.state_dict())
    own = {name: weight.shape for name, weight in model.state_dict().items()}
    assert {name: weight.shape for name, weight in names.items()} == own
    assert model.config.num_attention_heads == 6
