"""Trident's splice, SAM correlation and refinement against what the released functions computed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from oracles import built, header, require_close, rows, vectors
from torch import Tensor
from torch.nn.functional import interpolate

from ovbench.adapters.dense_clip import trident
from ovbench.adapters.dense_clip.trident import Trident, gathered
from ovbench.adapters.parts.vfm import VFM
from ovbench.models.clip.trunk import on_grid
from ovbench.models.pixels.windows import Axis, Windows
from ovbench.models.sam.correlation import correlation
from ovbench.models.sam.refinement import Prompts, Refinement


def joined(prefix: str, factor: float, refine_negative: bool) -> Tensor:
    given = vectors("trident_inputs")
    return correlation(
        given[f"{prefix}sam.values"][0].flatten(1, 2),
        given[f"{prefix}sam.attention"][0],
        factor=factor,
        raise_negative=not refine_negative,
    )


@pytest.mark.parametrize(("factor", "flag"), [(0.0, True), (1.2, True), (3.0, False)])
def test_places_are_joined_by_sam_as_released(factor: float, flag: bool) -> None:
    """One copy per head of CLIP there, all equal."""
    expected = vectors("trident")[f"sam_correlation.c{factor}.refine_neg_{flag}"][0]
    found = joined("", factor, flag)
    require_close(found.expand_as(expected), expected)


@pytest.mark.parametrize(("factor", "flag"), [(1.2, True), (3.0, False)])
def test_windows_are_spliced_and_gathered_as_released(
    factor: float, flag: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = vectors("trident_inputs")
    monkeypatch.setattr(trident, "load_vfm", lambda *_, **__: VFM((), 1, lambda _: _))
    monkeypatch.setattr(trident, "load_sam", lambda *_: VFM((), 1, lambda _: _))
    own = built(monkeypatch, Trident)
    own.vfm = VFM((), 1, lambda _: given["splice.vfm"])
    # Four boxes in patches: two rows and two columns of windows over 11 x 12 patches.
    boxes = [[int(x) * 16 for x in box] for box in given["splice.boxes"].tolist()]
    tops, lefts = (tuple(sorted({box[axis] for box in boxes})) for axis in (0, 1))
    assert [(box[0], box[1]) for box in boxes] == [(t, left) for t in tops for left in lefts]
    layout = Windows(Axis(176, tops, 112, 0, 0), Axis(192, lefts, 112, 0, 0))
    trunk, spliced = own._spliced(given["splice.windows"], layout)
    found = gathered(joined("splice.", factor, flag), spliced, (9, 12))
    dense = rows(on_grid(trunk.joint(found.flatten(2).mT), (9, 12)))
    require_close(dense, vectors("trident")[f"splice.dense.c{factor}.refine_neg_{flag}"])


@pytest.mark.parametrize("shape", ["square", "wide"])
def test_regions_are_asked_for_and_redrawn_as_released(shape: str) -> None:
    given, said = vectors(f"trident_refine_{shape}"), header(f"trident_refine_{shape}")
    probabilities, coarse = given["probabilities"], given["coarse_labels"][0].long()
    height, width = coarse.shape
    counts, replies = [], iter(given["reply_iou"].tolist())
    asked: list[Prompts] = []

    def answer(prompts: Prompts) -> Iterator[Tensor]:
        asked.append(prompts)
        counts.append(len(prompts.boxes))
        kept = [next(replies) > float(said["sam_iou_thresh"]) for _ in prompts.boxes]
        # What the stand-in answers: a paraboloid in each box.
        first, last = prompts.boxes[:, :2], prompts.boxes[:, 2:]
        (cx, cy), (rx, ry) = ((first + last) / 8).T, ((last - first) / 8 + 6).T
        across = ((torch.arange(256.0) - cx[:, None]) / rx[:, None]) ** 2
        down = ((torch.arange(256.0) - cy[:, None]) / ry[:, None]) ** 2
        low = 6 * (1 - across[:, None] - down[:, :, None])
        low = low.half().float().clamp(-12, 12)[torch.tensor(kept)]
        if len(low):
            scale = 1024 / max(height, width)
            tall, wide = int(height * scale + 0.5), int(width * scale + 0.5)
            full = interpolate(low[:, None], (1024, 1024), mode="bilinear")[..., :tall, :wide]
            yield interpolate(full, (height, width), mode="bilinear")[:, 0]

    refinement = Refinement(
        above=float(said["coarse_thresh"]),
        least_area=int(said["minimal_area"]),
        weight=float(said["sam_mask_coff"]),
    )
    labels = refinement.labels(coarse, range(4), lambda label: probabilities[label], answer)
    assert counts == given["regions_per_call"].tolist()
    require_close(torch.cat([one.points for one in asked]), given["prompt_points"], 1e-4)
    require_close(torch.cat([one.boxes for one in asked]), given["prompt_boxes"], 1e-4)
    masks = torch.stack([one.mask for one in asked])[:, ::8, ::8]
    require_close(masks, given["prompt_masks_per_class"])
    assert bool((labels == given["refined_labels"][0]).all())
    assert bool((labels != coarse).any())
