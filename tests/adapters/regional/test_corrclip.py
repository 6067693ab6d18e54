"""CorrCLIP as a method: what regions do, the vote, padding, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from ovbench.adapters.regional.corrclip import CorrCLIP, CorrCLIPSettings, with_regions
from ovbench.datasets import load_dataset
from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import override
from ovbench.harness.contract.supervision import Supervision
from ovbench.harness.contract.vocabulary import Background, ClassQuery, Vocabulary
from ovbench.harness.registry.glance import card_of
from ovbench.harness.registry.picking import picks_of
from ovbench.harness.registry.trainings import supervision_of
from ovbench.models.regions.maps import majority_vote

TOY = Runtime(checkpoints="toy")
IMAGE = load_dataset("toyworld").load(3).image


def built(**settings: Any) -> CorrCLIP:
    few = {"prompts": "single", "points_per_side": 4, "short_side": 96, "window": 0, **settings}
    method = CorrCLIP(override(CorrCLIPSettings, few), TOY)
    classes = (ClassQuery("circle"), ClassQuery("square"), ClassQuery("star"))
    method.prepare(Vocabulary(classes, background=Background()))
    return method


def test_the_vote_gives_every_region_one_label() -> None:
    voted, plain = built(), built(vote=False)
    (found,), (before,) = voted.segment([IMAGE]), plain.segment([IMAGE])
    (masks,) = voted.regions.masks([IMAGE])
    regions = masks.painted("larger")
    assert 0 < (found != before).mean() < 1
    least = int(regions.min())
    assert (found == majority_vote(before, regions, least)).all()
    for number in set(np.unique(regions).tolist()) - {least}:
        assert len(np.unique(found[regions == number])) == 1


def test_images_do_not_change_each_other() -> None:
    other = load_dataset("toyworld").load(7).image
    method = built(window=64, window_stride=32)
    together = method.segment([IMAGE, other], [[1, 2], [2, 3]])
    alone = [method.segment([IMAGE], [[1, 2]])[0], method.segment([other], [[2, 3]])[0]]
    for one, two in zip(together, alone, strict=True):
        assert (one == two).mean() > 0.999
    assert set(np.unique(together[1])) <= {0, 2, 3}


def test_padding_is_a_region_of_its_own_and_none_of_what_is_free() -> None:
    method = built(merge=False)
    regions = np.zeros((56, 56), np.int32)
    regions[:28] = 1
    pixels = torch.randn(3, 56, 56, generator=torch.Generator().manual_seed(0))
    shown = torch.nn.functional.pad(with_regions(pixels, regions), (0, 56))[None]
    seen = method.vfm.features(shown[:, :3])
    numbers = method.branches.numbers(shown[:, 3], seen)[0]
    middle = numbers.shape[1] // 2
    assert set(numbers[:, middle:].flatten().tolist()) == {2}
    assert set(numbers[:, :middle].flatten().tolist()) == {0, 1}


def test_where_no_mask_is_all_is_one_region() -> None:
    method = built(predicted_iou=1000.0)  # nothing passes
    (masks,) = method.regions.masks([IMAGE])
    assert not len(masks.masks)
    (found,) = method.segment([IMAGE])
    assert found.shape == IMAGE.shape[:2]


def test_few_blocks_and_too_few() -> None:
    assert list(built().branches.averaged) == [1]
    assert list(built(spatial_blocks=2).branches.averaged) == [0, 1]
    with pytest.raises(UsageError, match=r"spatial_blocks=3: .* has 4 blocks"):
        built(spatial_blocks=3)
    assert len(built(spatial_blocks=3, spatial_weight=0).segment([IMAGE])) == 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"regions": "nothing"}, "expected"),
        ({"points_per_side": 0}, "points_per_side"),
        ({"merge_distance": 3}, "merge_distance"),
        ({"regions": "panoptic"}, "panoptic"),
    ],
)
def test_wrong_settings(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        built(**settings)


def test_what_it_was_trained_with_follows_the_generator() -> None:
    card, picks = card_of("corrclip"), picks_of("corrclip")

    def told(**settings: str) -> Supervision:
        found = supervision_of(card, picks, settings)
        assert found is not None
        return found

    assert told().mask_marks == ["mask-supervised without names: SA-1B, SA-V"]
    assert told(regions="sam_grid").mask_marks == ["mask-supervised without names: SA-1B"]
    eomt = told(regions="panoptic", panoptic="eomt_large_coco_panoptic")
    assert (eomt.data["COCO"], "SA-1B" in eomt.data) == ("masks", False)
    assert "trained on masks" in eomt.mask_marks[0]
    assert told(regions="panoptic", panoptic="a/b").unknown == ("panoptic/a/b",)
    for generator in ("superpixels", "cuts"):
        assert told(regions=generator).mask_marks == []
        assert told(regions=generator).dearest == "captions"
