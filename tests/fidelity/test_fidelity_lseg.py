"""LSeg's neck against the released functions, its encoder against timm's, and its evaluation
against the steps written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from oracles import require_close, vectors
from tiny_lseg import SIZES, by_the_authors, tiny_lseg
from torch import Tensor
from torch.nn import functional

from ovbench.adapters.pixelwise import lseg as adapter
from ovbench.adapters.pixelwise.lseg import LSegMethod
from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import override
from ovbench.models.patches.encoder import PatchEncoder, PatchFeatures, Reading
from ovbench.models.pixelwise import lseg as network
from ovbench.models.pixelwise.lseg import LSeg, own_names
from ovbench.models.pixelwise.neck import Neck

TEXT = functional.normalize(torch.eye(SIZES.joint)[:3] + 0.1, dim=1)


@torch.inference_mode()
def test_the_neck_is_the_released_one() -> None:
    given = vectors("lseg_neck")
    weights = own_names(vectors("lseg_neck_weights"))
    neck = Neck(SIZES)
    found = neck.load_state_dict(
        {name.removeprefix("neck."): weight for name, weight in weights.items()}, strict=False
    )
    assert not found.unexpected_keys
    assert found.missing_keys == ["to_text.weight", "to_text.bias"]  # it ends before the head
    readings = [
        PatchFeatures(tokens[:, 1:].mT.reshape(1, 24, 6, 6), tokens[:, 0])
        for tokens in (given[f"block_tokens{n}"] for n in (1, 2, 3, 4))
    ]
    require_close(neck.eval().fused(readings), given["path_1"])


@pytest.mark.parametrize("size", [(48, 48), (64, 96)])
@torch.inference_mode()
def test_the_encoder_is_timms(size: tuple[int, int]) -> None:
    """The released code reads blocks of timm's transformer behind positions of its own."""
    from timm.models.vision_transformer import VisionTransformer

    parts = tiny_lseg()
    theirs = by_the_authors(parts.state_dict())
    home = "net.pretrained.model."
    timms = VisionTransformer(
        img_size=48, patch_size=16, embed_dim=24, depth=4, num_heads=2, mlp_ratio=2, num_classes=0
    ).eval()
    timms.load_state_dict(
        {name.removeprefix(home): w for name, w in theirs.items() if name.startswith(home)}
    )
    pixels = torch.randn(2, 3, *size)
    grid = size[0] // 16, size[1] // 16
    native = timms.pos_embed[:, 1:].mT.reshape(1, 24, 3, 3)
    resized = functional.interpolate(native, grid, mode="bilinear").flatten(2).mT
    tokens = timms.patch_embed.proj(pixels).flatten(2).mT + resized
    tokens = torch.cat([(timms.cls_token + timms.pos_embed[:, :1]).expand(2, -1, -1), tokens], 1)
    encoder = PatchEncoder(parts["encoder"], (), Runtime(), "bilinear")
    found = encoder.read(pixels, *(Reading(layer) for layer in range(4)))
    for block, read in zip(timms.blocks, found, strict=True):
        tokens = block(tokens)
        require_close(read.patches.flatten(2).mT, tokens[:, 1:])
        require_close(read.class_token, tokens[:, 0])


@pytest.fixture
def method(monkeypatch: pytest.MonkeyPatch) -> LSegMethod:
    monkeypatch.setattr(network, "_released", tiny_lseg)
    monkeypatch.setattr(adapter, "load_clip", lambda *_: type("Clip", (), {"checkpoint": None}))
    changes = {"weights": "random", "window": 64, "window_stride": 42, "base_side": 90,
               "scales": (0.5, 0.75, 1.0, 1.6)}  # fmt: skip
    made = LSegMethod(override(LSegMethod.Settings, changes), Runtime())
    made.text = TEXT
    return made


@pytest.mark.parametrize("size", [(70, 101), (120, 31), (40, 40)])
def test_scores_against_the_steps_written_out(method: LSegMethod, size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    with torch.inference_mode():
        found = method.scores(image).whole()
        expected = plain(image, method._network)
    # A mean over two views and of so many sizes for their sum.
    require_close(2 * found, expected)
    assert torch.equal(found.argmax(0), expected.argmax(0))


def plain(image: Image, model: LSeg) -> Tensor:
    """Sizes, windows and mirrored windows one by one, at full size and with all classes."""
    height, width = image.shape[:2]
    pixels = (torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255 - 0.5) / 0.5
    total = torch.zeros(1, 3, height, width)
    for scale in (0.5, 0.75, 1.0, 1.6):
        longer = math.ceil(90 * scale)
        if height > width:
            h, w = longer, int(width * longer / height + 0.5)
        else:
            h, w = int(height * longer / width + 0.5), longer
        scores = torch.zeros(1, 3, h, w)
        seen = torch.zeros(h, w)
        small = enlarged(pixels, (h, w))
        for top in tops(h):
            for left in tops(w):
                window = torch.full((1, 3, 64, 64), -1.0)
                part = small[:, :, top : top + 64, left : left + 64]
                down, right = part.shape[2:]
                window[:, :, :down, :right] = part
                both = logits(window, model) + logits(window.flip(3), model).flip(3)
                scores[:, :, top : top + 64, left : left + 64] += both[:, :, :down, :right]
                seen[top : top + 64, left : left + 64] += 1
        total += enlarged(scores / seen, (height, width))
    return total[0]


def tops(side: int) -> list[int]:
    found = [0]
    while found[-1] + 64 < side:
        found.append(found[-1] + 42)
    return found


def logits(window: Tensor, model: LSeg) -> Tensor:
    maps = model.embed(window)
    assert maps.shape[2:] == (32, 32)
    return enlarged(torch.einsum("qd,bdhw->bqhw", TEXT, maps), (64, 64))


def enlarged(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(maps, size, mode="bilinear", align_corners=True)
