"""Trident as a method: how inputs become whole patches, what SAM is shown, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from ovbench.adapters.dense_clip.trident import Trident, log_mass
from ovbench.datasets import load_dataset
from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import override
from ovbench.harness.contract.vocabulary import Background, ClassQuery, Vocabulary
from ovbench.models.pixels.scores import Scores

SMALL: dict[str, Any] = {"short_side": 48, "window": 48, "window_stride": 16, "prompts": "single"}
VOCABULARY = Vocabulary(
    (ClassQuery("disk", ("circle",)), ClassQuery("star")), Background(("background", "grass"))
)
IMAGE = load_dataset("toyworld").load(1).image


def built(**settings: Any) -> Trident:
    made = Trident(override(Trident.Settings, {**SMALL, **settings}), Runtime(checkpoints="toy"))
    made.prepare(VOCABULARY)
    return made


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((96, 96), (48, 48)),  # whole patches of 8 already
        ((90, 120), (48, 64)),  # 48 x 64
        ((96, 110), (48, 56)),  # 48 x 55: the width to 56, the height in proportion 48
        ((96, 98), (56, 56)),  # 48 x 49: to 56, and 54 to 56
    ],
)
def test_inputs_are_whole_patches(size: tuple[int, int], expected: tuple[int, int]) -> None:
    one = built()
    assert tuple(one._input(np.zeros((*size, 3), np.uint8)).shape[1:]) == expected


def test_sam_is_shown_both_halves_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    one = built(halves=True)
    shown = []
    looked = one._looked
    monkeypatch.setattr(one, "_looked", lambda part, x: shown.append(part) or looked(part, x))
    (answer,) = one.segment([IMAGE])
    assert answer.shape == IMAGE.shape[:2]
    assert (np.concatenate(shown, axis=1) == IMAGE).all()


def test_without_correlation_one_window_is_proxyclips_answer() -> None:
    one = built(correlate=False, window=0)
    pixels = one._input(IMAGE)[None]
    with torch.inference_mode():
        alone = one.features(pixels)
        trunk, spliced = one._spliced(pixels, one._windows(pixels[0]))
        found = trunk.joint(spliced.flatten(2).mT)
    torch.testing.assert_close(found, alone.flatten(2).mT, atol=1e-5, rtol=1e-5)


def test_refinement_redraws_and_stays_within_the_candidates() -> None:
    (coarse,), (fine,) = (
        built(sam_refinement=on, region_area=4, correlate=False).segment([IMAGE])
        for on in (False, True)
    )
    assert 0 < (coarse != fine).mean() < 1
    (one,) = built(sam_refinement=True, region_area=4).segment([IMAGE], [[1]])
    assert set(np.unique(one)) <= {0, 1}


def test_the_mass_of_a_softmax() -> None:
    maps = torch.randn(5, 4, 6, generator=torch.Generator().manual_seed(0))
    scores = Scores.enlarged(maps, (9, 13))
    torch.testing.assert_close(log_mass(scores, 40.0), (scores.whole() * 40).logsumexp(dim=0))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"window_multiple": 8}, "window_multiple must be 1"),
        ({"window": 44}, "window=44: windows are spliced patch by patch"),
        ({"region_area": 0}, "region_area must be positive"),
        ({"predicted_iou": -1}, "at least 0"),
    ],
)
def test_wrong_settings(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        built(**settings)
