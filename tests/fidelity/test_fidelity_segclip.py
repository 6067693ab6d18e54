"""SegCLIP against its released function, and its gathering and scores against restatements."""

from __future__ import annotations

from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from naming_rule import score_of_pixel, whole_map
from oracles import require_close, vectors
from tiny_segclip import tiny_segclip
from torch import Tensor, nn
from torch.nn import functional

from ovbench.adapters.grouping import segclip as adapter
from ovbench.adapters.grouping.segclip import SegCLIPMethod, SegCLIPSettings
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.grouping.segclip import Gathering, SegCLIP, SegCLIPNetwork, own_names


def released() -> SegCLIPNetwork:
    """The blocks and the gathering of the numbers, one head wide."""
    visual: Any = open_clip.transformer.VisionTransformer(
        image_size=224, patch_size=16, width=64, layers=12, heads=1, mlp_ratio=4.0, output_dim=24,
        act_layer=open_clip.transformer.QuickGELU,
    )  # fmt: skip
    clip = nn.Module()
    clip.visual = visual
    network = SegCLIPNetwork(clip)
    named = {f"clip.visual.transformer.{k}": v for k, v in vectors("segclip_weights").items()}
    found = network.load_state_dict(own_names(named), strict=False)
    assert not found.unexpected_keys
    assert not [name for name in found.missing_keys if "resblocks" in name or "gathering" in name]
    return network.eval()


@torch.inference_mode()
def test_groups() -> None:
    expected = vectors("segclip")
    tokens, shares = released().group(expected["tokens_in"][:, 1:])
    # There the maximum comes first.
    require_close(tokens.roll(1, dims=1), expected["tokens_out"])
    require_close(shares, expected["soft_assignment"])


def normed(vector: Tensor, norm: nn.LayerNorm) -> Tensor:
    deviation = ((vector - vector.mean()) ** 2).mean().add(norm.eps).sqrt()
    return (vector - vector.mean()) / deviation * norm.weight + norm.bias


def quick(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


def looked(query: Tensor, seen: list[Tensor], block: Any) -> Tensor:
    """What one centre sees of all tokens, head by head, and its MLP."""
    width, heads = len(query), block.attn.num_heads
    weight, bias = block.attn.in_proj_weight, block.attn.in_proj_bias
    own = weight[:width] @ normed(query, block.ln_1) + bias[:width]
    keys = [
        weight[width : 2 * width] @ normed(t, block.ln_1_kv) + bias[width : 2 * width] for t in seen
    ]
    values = [weight[2 * width :] @ normed(t, block.ln_1_kv) + bias[2 * width :] for t in seen]
    found = torch.zeros(width)
    for head in range(heads):
        part = slice(head * width // heads, (head + 1) * width // heads)
        power = [torch.exp(own[part] @ key[part] / (width // heads) ** 0.5) for key in keys]
        found[part] = sum(
            p / sum(power) * value[part] for p, value in zip(power, values, strict=True)
        )
    query = query + block.attn.out_proj.weight @ found + block.attn.out_proj.bias
    wide = block.mlp.c_fc.weight @ normed(query, block.ln_2) + block.mlp.c_fc.bias
    return query + block.mlp.c_proj.weight @ quick(wide) + block.mlp.c_proj.bias


def plain(patches: Tensor, layer: Gathering) -> tuple[Tensor, Tensor]:
    """Of one picture, centre by centre."""
    centres = list(layer.centres)
    for block in layer.rounds:
        seen = [*centres, *patches]
        centres = [looked(centre, seen, block) for centre in centres]
    centres = [normed(centre, layer.norm_centres) for centre in centres]
    mapped: dict[str, list[Tensor]] = {"key": [], "value": []}
    for patch in patches:
        even = normed(patch, layer.norm)
        for name, rows in mapped.items():
            blocks = getattr(layer, name).weight.squeeze(-1)  # (width, width / heads)
            inside = even.reshape(-1, blocks.shape[1])
            by_head = blocks.reshape(len(inside), -1, blocks.shape[1])
            rows.append(torch.cat([w @ part for w, part in zip(by_head, inside, strict=True)]))
    keys = [normed(key, layer.norm_key) for key in mapped["key"]]
    power = [[torch.exp(centre @ key) for key in keys] for centre in centres]
    shares = torch.tensor(
        [[row[n] / sum(r[n] for r in power) for n in range(len(keys))] for row in power]
    )
    gathered = []
    for number, centre in enumerate(centres):
        own = [v for n, v in enumerate(mapped["value"]) if int(shares[:, n].argmax()) == number]
        total = centre + (sum(own) / len(own) if own else 0)
        norm, wide, _, narrow, _ = layer.mixing
        inner = functional.gelu(wide.weight @ normed(total, norm) + wide.bias)
        gathered.append(quick(narrow.weight @ inner + narrow.bias))
    return torch.stack(gathered), shares


@torch.inference_mode()
def test_gathering_against_a_plain_restatement() -> None:
    generator = torch.Generator().manual_seed(3)
    layer = Gathering(8, 2)
    for weight in layer.parameters():
        weight.copy_(torch.randn(weight.shape, generator=generator) * 0.5)
    pictures = torch.randn(2, 10, 8, generator=generator)
    tokens, shares = layer(pictures)
    empty = 0
    for picture, found, share in zip(pictures, tokens, shares, strict=True):
        expected, expected_share = plain(picture, layer)
        torch.testing.assert_close(share, expected_share, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
        empty += 8 - len(set(share.argmax(0).tolist()))
    assert empty  # a centre without patches is among them


@pytest.mark.parametrize("threshold", [0.1, 0.25])
@torch.inference_mode()
def test_pixels_against_a_plain_restatement(
    threshold: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = SegCLIP(tiny_segclip(), CheckpointRecord("segclip", "tiny", None, None), Runtime())
    monkeypatch.setattr(adapter, "load_segclip", lambda *_: model)
    method = SegCLIPMethod(SegCLIPSettings(background_threshold=threshold), Runtime())
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(1, 3, 32, 48, generator=generator)
    groups = model.groups(pixels)
    # Texts near to groups, so that several are sure of something.
    near = groups.vectors[0, [0, 1, 2, 3, 4, 5, 6]]
    method.text = functional.normalize(
        near + 0.1 * torch.randn(near.shape, generator=generator), dim=1
    )
    monkeypatch.setattr(SegCLIP, "logit_scale", 60.0)
    whole = whole_map(method, pixels, 7, True)
    seen = set()
    for row in range(1, 32, 5):
        for column in range(2, 48, 5):
            expected = score_of_pixel(groups, method.text, 60.0, threshold, 8, (row, column))
            np.testing.assert_allclose(whole[:, row, column], expected, rtol=1e-3, atol=1e-6)
            seen.add(int(np.argmax(expected)))
    assert len(seen) > 1
