"""Many prompts at once, against the authors' decoder."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from segment_anything import SamAutomaticMaskGenerator

from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.sam import decoding
from ovbench.models.sam.model import Sam, SamConfig, build_sam, load_sam
from ovbench.models.sam.promptable import EncodedImage
from ovbench.models.sam.proposals import ProposalSettings, propose
from ovbench.toyworld.scene import render_scene

TINY = SamConfig(
    encoder_embed_dim=16,
    encoder_depth=1,
    encoder_num_heads=1,
    encoder_global_attn_indexes=(0,),
    image_size=48,
    patch_size=8,
    prompt_embed_dim=32,
    decoder_num_heads=4,
    decoder_mlp_dim=24,
    iou_head_hidden_dim=16,
)
PROMPTS = 7


def made(depth: int = 2) -> Sam:
    """One whose biases are not the zeros that layers begin with."""
    torch.manual_seed(0)
    model = build_sam(replace(TINY, decoder_depth=depth))
    for parameter in model.mask_decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return Sam(model, (CheckpointRecord("sam", "tiny", None, None),), Runtime())


def asked(points: int, boxes: bool) -> tuple[EncodedImage, dict[str, torch.Tensor | None]]:
    rng = torch.Generator().manual_seed(points)
    features = torch.randn(1, 32, 6, 6, generator=rng)
    prompts = {
        "points": torch.rand(PROMPTS, points, 2, generator=rng) * 48,
        "labels": torch.randint(0, 2, (PROMPTS, points), generator=rng, dtype=torch.int),
        "boxes": torch.rand(PROMPTS, 4, generator=rng) * 48 if boxes else None,
    }
    return EncodedImage(features, (48, 48), (48, 48)), prompts


@pytest.mark.parametrize("cached", [1, 3 * 32 * 36 * 2, 2**20], ids=["one", "three", "all"])
@pytest.mark.parametrize(("points", "boxes", "depth"), [(1, False, 2), (3, True, 2), (2, True, 3)])
@pytest.mark.parametrize("multimask", [False, True])
def test_they_are_answered_as_by_the_decoder(
    monkeypatch: pytest.MonkeyPatch,
    points: int,
    boxes: bool,
    depth: int,
    multimask: bool,
    cached: int,
) -> None:
    monkeypatch.setattr(decoding, "CACHED", cached)
    sam = made(depth)
    encoded, prompts = asked(points, boxes)
    low_res, iou = sam.decode(encoded, **prompts, multimask=multimask)
    found = sam.decode_many(encoded, **prompts, multimask=multimask)  # type: ignore[arg-type]
    assert found.prompt.tolist() == [i for i in range(PROMPTS) for _ in range(iou.shape[1])]
    for ours, theirs in ((found.low_res, low_res), (found.iou, iou)):
        torch.testing.assert_close(ours, theirs.flatten(0, 1), rtol=1e-4, atol=1e-5)


def test_only_masks_of_a_high_predicted_iou_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "CACHED", 2 * 32 * 36 * 2)
    sam = made()
    encoded, prompts = asked(1, False)
    every = sam.decode_many(encoded, **prompts)  # type: ignore[arg-type]
    above = every.iou.abs().sort().values[len(every.iou) // 2].item()
    some = sam.decode_many(encoded, **prompts, above=above)  # type: ignore[arg-type]
    kept = every.iou > above
    assert 0 < kept.sum() < len(kept)
    for ours, expected in zip(some, every, strict=True):
        torch.testing.assert_close(ours, expected[kept])
    none = sam.decode_many(encoded, **prompts, above=1e9)  # type: ignore[arg-type]
    assert [tuple(part.shape) for part in none] == [(0, 24, 24), (0,), (0,)]


def test_a_scene_gets_the_generators_proposals() -> None:
    sam = load_sam("sam_vit_b", Runtime(checkpoints="toy"))
    image = render_scene(3).image
    settings = ProposalSettings(points_per_side=8, pred_iou_thresh=0.7, stability_score_thresh=0.8)
    ours = propose(sam, sam.encode(image), settings)
    theirs = SamAutomaticMaskGenerator(
        sam.model, points_per_side=8, pred_iou_thresh=0.7, stability_score_thresh=0.8
    ).generate(image)
    assert len(ours) == len(theirs) > 2
    for mask, iou, record in zip(ours.masks, ours.predicted_iou, theirs, strict=True):
        assert (mask != record["segmentation"]).mean() < 1e-3
        assert iou == pytest.approx(record["predicted_iou"], abs=1e-5)
    assert np.array_equal(ours.points, [record["point_coords"][0] for record in theirs])
