"""LaVG: pooling within parts against the released steps, one pixel after the other."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate, normalize

from ovbench.adapters.regional.lavg import LaVG
from ovbench.datasets import load_dataset
from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import override
from ovbench.harness.contract.vocabulary import Background, ClassQuery, Vocabulary
from ovbench.models.regions.store import Masks

SMALL: dict[str, Any] = {
    "short_side": 48, "window": 32, "window_stride": 16, "cut_side": 48, "prompts": "single",
}  # fmt: skip
VOCABULARY = Vocabulary(
    (ClassQuery("disk", ("circle",)), ClassQuery("star")), Background(("background", "grass"))
)
IMAGE = load_dataset("toyworld").load(1).image[:80]


def built(vocabulary: Vocabulary = VOCABULARY, **settings: Any) -> LaVG:
    made = LaVG(override(LaVG.Settings, {**SMALL, **settings}), Runtime(checkpoints="toy"))
    made.prepare(vocabulary)
    return made


def parts_of(shape: tuple[int, int]) -> Masks:
    """Three that meet, one of them hidden by the first, and some pixels in none."""
    masks = np.zeros((3, *shape), bool)
    masks[0, 5:40, 3:30] = masks[1, 20:60, 20:50] = masks[2, 10:20, 10:20] = True
    return Masks(masks, np.array([3, 2, 1], np.float32))


@torch.inference_mode()
@pytest.mark.parametrize("only_parts", [True, False])
@pytest.mark.parametrize("background", [True, False])
def test_labels_are_those_of_the_steps_written_out(
    only_parts: bool, background: bool, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classes = VOCABULARY.classes
    vocabulary = VOCABULARY if background else Vocabulary(classes)
    one = built(vocabulary, only_parts_have_classes=only_parts)
    # Texts in between the window's features, so that several of them win somewhere.
    torch.manual_seed(0)
    mean = normalize(one.features(one._windows(one._input(IMAGE)).cut(one._input(IMAGE))), dim=1)
    spread = mean.std(dim=(0, 2, 3)) * torch.randn(one.text.shape)
    one.text = normalize(mean.mean(dim=(0, 2, 3)) + spread, dim=1)
    found = parts_of(IMAGE.shape[:2])
    monkeypatch.setattr(one.regions, "masks", lambda images: [found] * len(images))
    (labels,) = one.segment([IMAGE])

    pixels = one._input(IMAGE)
    height, width = pixels.shape[1:]
    nowhere = ~found.masks.any(axis=0)
    masks = torch.from_numpy(np.concatenate([found.masks, nowhere[None]])).float()
    masks = interpolate(masks[None], (height, width), mode="nearest")[0].bool()
    total, count = torch.zeros(len(one.text), height, width), torch.zeros(height, width)
    is_class = torch.tensor([label > 0 for _, label in vocabulary.queries])
    layout = one._windows(pixels)
    for top, left in product(layout.rows.starts, layout.columns.starts):
        place = np.s_[top : top + 32, left : left + 32]
        features = normalize(one.features(pixels[None, :, *place]), dim=1)
        features = interpolate(features, (32, 32), mode="bilinear")[0]
        logits = torch.einsum("dhw,qd->qhw", features, one.text)
        for mask in reversed(masks[:, *place]):
            if mask.any():
                mean = (features * mask).sum(dim=(1, 2)) / mask.sum()
                logits[:, mask] = (one.text @ mean)[:, None]
        if only_parts and background:
            least = logits.min().item()
            logits[is_class[:, None, None] & masks[-1][place]] = least
        total[:, *place] += logits
        count[place] += 1
    scores = interpolate((total / count)[None], IMAGE.shape[:2], mode="bilinear")[0]
    best = (scores * 40).softmax(dim=0).argmax(dim=0)
    wanted = vocabulary.query_labels[best.numpy()]
    assert len(np.unique(wanted)) > 1
    assert (labels == wanted).mean() >= 0.995
    outside = nowhere & (labels > 0)
    if only_parts and background:
        assert outside.mean() < 0.02  # where windows or enlarged pixels meet


def test_a_picture_without_parts_is_pooled_whole(cache: Path) -> None:
    grey = np.full((40, 60, 3), 128, np.uint8)
    for only_parts in (True, False):
        (labels,) = built(only_parts_have_classes=only_parts).segment([grey])
        assert labels.shape == (40, 60)
        assert not only_parts or (labels == 0).all()


def test_masks_are_made_once_for_all_pictures(cache: Path) -> None:
    one = built(cut_side=96)
    image = load_dataset("toyworld").load(2).image
    first, _, again = one.segment([image, IMAGE, image])
    assert (first == again).all()
    assert len(list((cache / "regions").glob("*.npz"))) == 2
    assert len(one.regions.masks([image])[0].masks) >= 1
    assert [record.role for record in one.checkpoints] == ["clip", "dino"]


def test_windows_with_margins_are_refused() -> None:
    with pytest.raises(UsageError, match="pooled pixel by pixel"):
        built(window_multiple=16)
