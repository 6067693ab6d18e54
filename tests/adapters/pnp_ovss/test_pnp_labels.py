"""From salience to labels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from ovbench.adapters.pnp_ovss.labels import (
    blurred,
    enlarged,
    label_map,
    masks,
    with_background,
)
from ovbench.adapters.pnp_ovss.settings import Settled
from ovbench.harness.contract.vocabulary import Vocabulary

THINGS = Vocabulary.of("cat", "dog", "bird", background=True)
STUFF = Vocabulary.of("sea", "sky", "sand")
HALVES = np.concatenate([np.full((32, 20, 3), 200), np.full((32, 20, 3), 40)], axis=1)
IMAGE = HALVES.astype(np.uint8)


def settled(**values: Any) -> Settled:
    return Settled(**{"resolution": 32, "layer": 1, "head": 1, "threshold": 0.15, **values})


def halves(*values: tuple[float, float]) -> torch.Tensor:
    """Maps of 4 x 4 patches with a value for the left half and one for the right half."""
    return torch.stack(
        [torch.tensor([left, left, right, right]).expand(4, 4).clone() for left, right in values]
    )


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("image", [[1, 0], [0, 0]]),
        ("class", [[1, 0], [0, 1]]),
        ("patch", [[1, 0], [0, 1]]),
        ("absolute", [[1, 0], [0, 0]]),
    ],
)
def test_threshold_units(unit: str, expected: list[list[int]]) -> None:
    maps = halves((4.0, 0.0), (0.01, 0.1))
    found = masks(maps, settled(threshold_of=unit))[:, 0, ::3]
    assert found.tolist() == expected


def test_soft_masks_keep_their_values() -> None:
    maps = halves((4.0, 0.1))
    assert masks(maps, settled(mask="soft", threshold_of="image"))[0, 0].tolist() == [4, 4, 0, 0]


@pytest.mark.parametrize("steps", [{}, {"blur": 0.0}, {"crf_iterations": 0}])
def test_each_half_gets_its_class(steps: dict[str, Any]) -> None:
    labels = np.array([1, 2, 3])
    maps = halves((5.0, 0.0), (0.0, 3.0), (0.0, 0.0))
    found = label_map(maps, labels, IMAGE, THINGS, settled(**steps))
    assert found.shape == (32, 40)
    assert found.dtype == THINGS.label_dtype
    assert (found[:, :18] == 1).all()
    assert (found[:, 22:] == 2).all()


@pytest.mark.parametrize("steps", [{}, {"crf_iterations": 0}, {"crf_iterations": 0, "blur": 0.0}])
def test_background_is_where_no_class_is(steps: dict[str, Any]) -> None:
    maps = halves((5.0, 0.0), (0.0, 0.0), (0.0, 0.0))
    found = label_map(maps, np.array([1, 2, 3]), IMAGE, THINGS, settled(**steps))
    assert (found[:, :16] == 1).all()
    assert (found[:, 26:] == 0).all()


@pytest.mark.parametrize("steps", [{}, {"crf_iterations": 0}, {"crf_iterations": 0, "blur": 0.0}])
def test_without_any_salience_there_is_still_an_answer(steps: dict[str, Any]) -> None:
    nothing = torch.zeros(3, 4, 4)
    found = label_map(nothing, np.array([1, 2, 3]), IMAGE, THINGS, settled(**steps))
    assert (found == 0).all()
    found = label_map(nothing, np.array([0, 1, 2]), IMAGE, STUFF, settled(**steps))
    assert set(np.unique(found)) <= {0, 1, 2}
    assert not label_map(nothing[:0], np.array([]), IMAGE, THINGS, settled(**steps)).any()


def test_without_background_weak_salience_decides_where_masks_are_empty() -> None:
    settings = settled(threshold_of="image", crf_iterations=0, blur=0.01)
    maps = halves((5.0, 0.0), (0.0, 0.0), (0.0, 0.1))
    found = label_map(maps, np.array([0, 1, 2]), IMAGE, STUFF, settings)
    assert (found[:, 30:] == 2).all()


def test_empty_classes_share_a_plane_and_nothing_changes() -> None:
    maps = torch.zeros(6, 4, 4)
    maps[2, :2], maps[4, 2:, :2] = 3.0, 2.0
    labels = np.arange(1, 7)
    vocabulary = Vocabulary.of(*"abcdef", background=True)
    settings = settled(threshold_of="image", softmax=True)
    planes = blurred(enlarged(maps, labels, IMAGE.shape[:2], settings), settings)
    assert planes.labels.tolist() == [3, 5, 1]
    assert planes.copies == (1, 1, 4)
    assert with_background(planes, planes.values[0]).labels.tolist() == [0, 3, 5, 1]
    # Values that are almost nothing, but above a threshold of nothing, get planes of their own.
    open_ = replace(settings, mask="soft", threshold=0.0, threshold_of="absolute")
    assert len(enlarged(maps + 1e-30, labels, IMAGE.shape[:2], open_).labels) == 6
    for steps in ({}, {"blur": 0.0, "crf_iterations": 2}):
        chosen = replace(open_, blur_rescale=False, **steps)
        alone = label_map(maps + 1e-30, labels, IMAGE, vocabulary, chosen)
        assert (alone == label_map(maps, labels, IMAGE, vocabulary, chosen)).all()


@pytest.mark.parametrize(("background", "softmax"), [("residual", False), ("empty", True)])
def test_backgrounds_claim_what_masks_leave(background: str, softmax: bool) -> None:
    settings = settled(background=background, softmax=softmax, threshold_of="image")
    found = label_map(halves((5.0, 0.0)), np.array([1]), IMAGE, THINGS, settings)
    assert (found[:, :16] == 1).all()
    assert (found[:, 28:] == 0).all()


def test_an_empty_background_is_made_of_masks_that_are_not_blurred_yet() -> None:
    # Blur reaches further than the gap between two masks, so that no pixel would be left of it.
    maps = torch.zeros(1, 8, 8)
    maps[0, :, :3] = maps[0, :, 6:] = 1.0
    settings = settled(background="empty", softmax=True, threshold_of="class", crf_iterations=0)
    settings = replace(settings, upsample="bilinear_corners", blur=0.05)
    found = label_map(maps, np.array([1]), IMAGE, THINGS, settings)
    assert (found[:, 18:22] == 0).all()
    assert (found[:, :8] == 1).all()
    assert (found[:, 34:] == 1).all()


@pytest.mark.parametrize(("classes", "background"), [(2, True), (3, False)])
def test_the_background_may_compete_among_few_classes_alone(classes: int, background: bool) -> None:
    maps = torch.zeros(classes, 4, 4)
    for index in range(classes):
        maps[index, index, :2] = 1.0
    settings = settled(background="empty", background_below=3, softmax=True, threshold_of="class")
    found = label_map(maps, np.arange(1, classes + 1), IMAGE, THINGS, settings)
    assert (found == 0).any() == background


@pytest.mark.parametrize("flat", [0.0, 1.0])
def test_a_mask_that_is_the_same_everywhere_may_decide_the_image_as_in_released_code(
    flat: float,
) -> None:
    maps = torch.cat([halves((1.0, 0.0)), torch.full((1, 4, 4), flat)])
    kept = settled(threshold_of="absolute", upsample="spline")
    as_released = replace(kept, flat_mask="first")
    seen = label_map(maps, np.array([2, 3]), IMAGE, THINGS, kept)
    assert seen.any()
    assert not label_map(maps, np.array([2, 3]), IMAGE, THINGS, as_released).any()
    # Without a background the first class in the image has the first plane.
    assert (label_map(maps, np.array([1, 2]), IMAGE, STUFF, as_released) == 1).all()
    # A background that no pixel is left to is such a plane, too.
    everywhere = replace(as_released, background="empty", upsample="bilinear")
    full = torch.linspace(1, 2, 16).reshape(1, 4, 4)
    assert not label_map(full, np.array([1]), IMAGE, THINGS, everywhere).any()
