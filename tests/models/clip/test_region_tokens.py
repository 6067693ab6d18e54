"""Copies of the class token beside the others, against one sequence with an attention mask."""

from __future__ import annotations

import torch
from torch import Tensor

from ovbench.harness.contract.runtime import Runtime
from ovbench.models.clip.model import load_clip
from ovbench.models.clip.region_tokens import paint_tokens
from ovbench.models.clip.trunk import embed


def joint(visual: object, pixels: Tensor, members: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The released way: copies before the sequence, and a mask over all of it."""
    tokens, _ = embed(visual, pixels)
    count = len(members)
    tokens = torch.cat([tokens[:, :1].expand(-1, count, -1), tokens], dim=1)
    seen = torch.zeros(tokens.shape[1], tokens.shape[1], dtype=torch.bool)
    seen[count:, count:] = True
    seen[:count, count] = True
    seen[:count, count + 1 :] = members
    mask = torch.zeros(seen.shape).masked_fill(~seen, -torch.inf)
    left = []
    for block in visual.transformer.resblocks:  # type: ignore[attr-defined]
        tokens = block(tokens, attn_mask=mask)
        left.append(tokens)
    return left[-1][:, :count], [one[:, count:] for one in left]


def test_regions_and_the_others_are_what_one_masked_sequence_gives() -> None:
    clip = load_clip("ViT-B-16", "openai", Runtime(checkpoints="toy"))
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(2, 3, 48, 64, generator=generator)
    members = torch.rand(2, 3, 48, generator=generator) < 0.4
    members[1, 2] = False  # a region without a patch
    read = clip.trunk_with_regions(pixels, members, average=[0, 1])
    with torch.inference_mode():
        for i in range(2):
            copies, left = joint(clip.visual, pixels[i : i + 1], members[i])
            torch.testing.assert_close(read.regions[i : i + 1], copies, atol=1e-4, rtol=1e-4)
            tokens = read.trunk.tokens[i : i + 1]
            torch.testing.assert_close(tokens, left[-2], atol=1e-4, rtol=1e-4)
            assert read.averaged is not None
            mean = (left[0] + left[1]) / 2
            torch.testing.assert_close(read.averaged[i : i + 1], mean, atol=1e-4, rtol=1e-4)


def test_without_regions_and_without_an_average() -> None:
    clip = load_clip("ViT-B-16", "openai", Runtime(checkpoints="toy"))
    pixels = torch.zeros(1, 3, 48, 48)
    read = clip.trunk_with_regions(pixels, torch.zeros(1, 0, 36, dtype=torch.bool))
    assert (read.averaged, read.regions.shape[1]) == (None, 0)
    torch.testing.assert_close(read.trunk.tokens, clip.trunk(pixels).tokens)


def test_places_have_their_regions_tokens() -> None:
    tokens = torch.arange(6.0).reshape(1, 3, 2)
    painted = paint_tokens(tokens, torch.tensor([[[2, 0], [1, 2]]]))
    assert painted[0].tolist() == [[4, 5], [0, 1], [2, 3], [4, 5]]
