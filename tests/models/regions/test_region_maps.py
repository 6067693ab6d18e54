"""Region maps: painting, fusing, voting and pooling, against what loops over pixels find."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from ovbench.models.regions.maps import fuse, majority_vote, paint, pool

SCORES = np.array([0.5, 0.9, 0.7], np.float32)


def rectangles(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    """Masks of 8 x 10 pixels: top, left, bottom, right."""
    masks = np.zeros((len(boxes), 8, 10), bool)
    for mask, (top, left, bottom, right) in zip(masks, boxes, strict=True):
        mask[top:bottom, left:right] = True
    return masks


NESTED = rectangles((0, 0, 6, 6), (1, 1, 3, 3), (4, 4, 8, 8))


@pytest.mark.parametrize(
    ("on_top", "at_2_2", "at_5_5", "count"),
    [("larger", 0, 0, 2), ("smaller", 1, 2, 3), ("better", 1, 2, 3)],
)
def test_of_masks_that_meet_one_is_on_top(
    on_top: str, at_2_2: int, at_5_5: int, count: int
) -> None:
    """The small square lies in the large one and is hidden where larger masks are on top."""
    found = paint(NESTED, SCORES, on_top)
    assert found[7, 9] == 0  # no mask
    assert found.dtype == np.int32
    numbers = set(np.unique(found)) - {0}
    assert numbers == set(range(1, count + 1))
    # The mask whose visible pixels hold the place is the one that the rule names.
    for place, mask in (((2, 2), at_2_2), ((5, 5), at_5_5)):
        assert not (NESTED[mask] & ~(found == found[place]))[place]
        region = found == found[place]
        assert (region <= NESTED[mask]).all()


def test_nothing_is_painted_of_no_masks() -> None:
    found = paint(np.zeros((0, 3, 4), bool), np.zeros(0, np.float32))
    assert found.tolist() == np.zeros((3, 4), int).tolist()


def test_every_pixel_covered_leaves_no_number_out() -> None:
    found = paint(rectangles((0, 0, 8, 5), (0, 5, 8, 10)), SCORES[:2])
    assert set(np.unique(found)) == {1, 2}


def test_masks_that_hold_each_other_are_joined() -> None:
    """A half inside its whole is taken in; one that only touches, and one beside it, are not."""
    masks = rectangles((0, 0, 6, 6), (0, 0, 6, 3), (5, 5, 8, 10), (0, 0, 0, 0))
    scores = np.array([0.4, 0.9, 0.6, 1.0], np.float32)
    joined, kept = fuse(masks, scores)
    assert kept.tolist() == pytest.approx([0.9, 0.6])
    assert (joined[0] == masks[0] | masks[1]).all()
    assert (joined[1] == masks[2]).all()


def test_a_small_box_within_a_large_one_stays() -> None:
    """Its IoU of boxes, 4 / 36, is not above 0.2, though it is contained; below 0.1 it joins."""
    masks = NESTED[:2]
    assert len(fuse(masks, SCORES[:2])[0]) == 2
    assert len(fuse(masks, SCORES[:2], box_iou=0.1)[0]) == 1


@pytest.mark.parametrize("unsegmented", [0, 2, None])
def test_regions_take_their_most_frequent_label(unsegmented: int | None) -> None:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 4, (13, 17)).astype(np.uint16)
    regions = rng.integers(0, 5, (13, 17)).astype(np.int32)
    voted = majority_vote(labels, regions, unsegmented)
    assert voted.dtype == np.uint16
    for number in range(5):
        here = regions == number
        if number == unsegmented:
            assert (voted[here] == labels[here]).all()
            continue
        counts = Counter(labels[here].tolist())
        best = min(counts, key=lambda label: (-counts[label], label))
        assert set(voted[here].tolist()) == {best}


def test_ties_go_to_the_smallest_label() -> None:
    labels = np.array([[3, 1, 3, 1]], np.uint8)
    assert majority_vote(labels, np.ones((1, 4), np.int32)).tolist() == [[1, 1, 1, 1]]


def test_pooling_is_a_weighted_mean() -> None:
    features = torch.randn(5, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    masks = torch.zeros(3, 3, 4)
    masks[0, 1, 2] = 0.3
    masks[1, 0] = torch.tensor([1.0, 0.5, 0.0, 0.5])
    found = pool(features, masks)
    assert torch.allclose(found[0], features[:, 1, 2])
    rows = features[:, 0]
    assert torch.allclose(found[1], (rows[:, 0] + 0.5 * rows[:, 1] + 0.5 * rows[:, 3]) / 2)
    assert found[2].abs().max() == 0
