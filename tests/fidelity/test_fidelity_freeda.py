"""FreeDA against what the released functions computed of one window."""

from __future__ import annotations

import torch
from oracles import require_close, vectors
from torch.nn.functional import normalize

from ovbench.adapters.freeda import FreeDA, FreeDASettings
from ovbench.adapters.freeda.regions import pooled, superpixels

GIVEN, EXPECTED = vectors("freeda_inputs"), vectors("freeda")
PIXELS = GIVEN["image"].permute(2, 0, 1).float()
WINDOW = {"superpixel_scale": 20.0, "superpixel_sigma": 0.7, "superpixel_smallest": 4}


def test_superpixels_are_the_released_ones() -> None:
    found = superpixels(PIXELS / 255, 20.0, 0.7, 4)
    assert torch.equal(found.to(torch.int16), EXPECTED["regions"])


def test_some_regions_no_patch_has_seen() -> None:
    """Otherwise the next test would not show what becomes of their pixels."""
    _, seen = pooled(GIVEN["features"], EXPECTED["regions"].long())
    assert 0.2 < seen.float().mean() < 0.8


@torch.inference_mode()
def test_scores_of_a_window_are_the_released_ones() -> None:
    method = object.__new__(FreeDA)
    method.settings = FreeDASettings(**WINDOW)
    method._prototypes = normalize(GIVEN["prototypes"], dim=1)
    method.text = GIVEN["text"]
    found = (GIVEN["features"][None], EXPECTED["regions"].long()[None], GIVEN["window"][None])
    scores, _ = method.scores(found, PIXELS[None], torch.arange(5), False)
    require_close(scores[0], EXPECTED["mask"])
