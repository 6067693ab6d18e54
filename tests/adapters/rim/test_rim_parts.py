"""What RIM is put together from: pooling, foregrounds, references, crops, painting."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from ovbench.adapters.rim import pooling
from ovbench.adapters.rim.crops import crop
from ovbench.adapters.rim.foreground import binary_region, draw_points
from ovbench.adapters.rim.painting import Overlap, paint, priorities
from ovbench.adapters.rim.pooling import grid_weights, masked_average
from ovbench.adapters.rim.references import cluster, gallery
from ovbench.adapters.rim.regions import with_remainder
from ovbench.adapters.rim.settled import Settled


def bilinear(mask: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Half-pixel centres, no averaging, borders repeated; one cell at a time."""
    height, width = mask.shape
    out = np.zeros(grid)
    for i in range(grid[0]):
        for j in range(grid[1]):
            y = max((i + 0.5) * height / grid[0] - 0.5, 0)
            x = max((j + 0.5) * width / grid[1] - 0.5, 0)
            top, left = math.floor(y), math.floor(x)
            for row, fy in ((top, 1 - (y - top)), (top + 1, y - top)):
                for column, fx in ((left, 1 - (x - left)), (left + 1, x - left)):
                    pixel = mask[min(row, height - 1), min(column, width - 1)]
                    out[i, j] += fy * fx * float(pixel)
    return out


@pytest.mark.parametrize("size", [(37, 50), (6, 5), (3, 40)])
def test_masked_average_pooling(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(7, 6, 5)).astype(np.float32)
    masks = np.stack([rng.random(size) < share for share in (0.2, 0.5, 0.9, 1.1)])
    expected = []
    for mask in masks:
        weights = bilinear(mask, (6, 5))
        expected.append((features * weights).sum(axis=(1, 2)) / weights.sum())
    for budget in (pooling.CHUNK_BYTES, 1):
        monkeypatch.setattr(pooling, "CHUNK_BYTES", budget)
        found = masked_average(torch.from_numpy(features), torch.from_numpy(masks))
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_a_mask_that_the_grid_misses_counts_for_its_cell() -> None:
    masks = torch.zeros(3, 64, 64, dtype=torch.bool)
    masks[0, 16:18, 47] = True  # between the places where 4 x 4 cells are sampled
    masks[1, 5, 5:8] = True
    weights = grid_weights(masks, (4, 4))
    assert weights[0].nonzero().tolist() == [[1, 2]]
    assert float(weights[0, 1, 2]) == 1
    assert weights[2].sum() == 0
    features = torch.arange(16.0).reshape(1, 4, 4) + 1
    assert masked_average(features, masks)[:, 0].tolist() == [7, 1, 0]
    assert masked_average(features, masks[:0]).shape == (0, 1)


def settled(**values: Any) -> Settled:
    return Settled(**values)


def test_the_binarised_region_is_a_share_of_the_peak() -> None:
    attention = np.array([[0.1, 0.5], [0.34, 0.36]], dtype=np.float32)
    same = binary_region(attention, (2, 2), settled())
    assert same.tolist() == [[False, True], [False, True]]
    absolute = binary_region(
        attention, (2, 2), settled(attention_scale="absolute", attention_threshold=0.35)
    )
    assert absolute.tolist() == [[False, True], [False, True]]
    # Nothing reaches it: the largest value is left.
    none = binary_region(attention, (2, 2), settled(attention_scale="absolute"))
    assert none.tolist() == [[False, True], [False, False]]
    assert binary_region(np.zeros((2, 2), np.float32), (5, 7), settled()).all()
    assert binary_region(attention, (5, 7), settled()).shape == (5, 7)


def test_points_are_drawn_inside_and_differ_where_they_can() -> None:
    rng = np.random.default_rng(0)
    region = rng.random((30, 40)) < 0.1
    points = draw_points(region, 5, rng).astype(int)
    assert len({tuple(p) for p in points}) == 5
    assert region[points[:, 1], points[:, 0]].all()
    lone = np.zeros((3, 4), bool)
    lone[1, 2] = True
    assert draw_points(lone, 5, rng).tolist() == [[2, 1]] * 5


def test_subcategories_are_the_centres_of_groups() -> None:
    rng = np.random.default_rng(0)
    axes = np.eye(6)[:3]
    prototypes = np.concatenate([10 ** rng.uniform(-1, 1) * (axis + 0.01) for axis in axes])
    groups = np.concatenate([axis + rng.normal(size=(5, 6)) * 0.01 for axis in axes])
    found = cluster((groups * rng.uniform(0.1, 9, (15, 1))).astype(np.float32), 3, 0)
    cosines = found @ axes.T / np.linalg.norm(found, axis=1, keepdims=True)
    assert sorted(cosines.argmax(axis=1)) == [0, 1, 2]
    assert cosines.max(axis=1).min() > 0.99
    few = cluster(prototypes.reshape(3, 6).astype(np.float32).repeat(2, axis=0), 8, 0)
    assert few.shape == (3, 6)


def test_a_gallery_restricted_to_labels_keeps_parts_with_their_owners() -> None:
    whole = [torch.full((2,), float(i)) for i in range(4)]
    parts = [whole[i].repeat(i + 1, 1) + 0.5 for i in range(4)]
    full = gallery(whole, parts, [1, 2, 2, 3], torch.tensor([[9.0, 9]]), background_is_agent=False)
    assert full.labels.tolist() == [0, 1, 2, 2, 3]
    assert full.references.agents.tolist() == [False, True, True, True, True]
    assert full.within(np.arange(4)) is full
    some = full.within(np.array([0, 2]))
    assert some.labels.tolist() == [0, 2, 2]
    given = some.references
    assert given.whole[:, 0].tolist() == [9, 1, 2]
    assert given.parts[:, 0].tolist() == [9, 1.5, 1.5, 2.5, 2.5, 2.5]
    assert given.owner.tolist() == [0, 1, 1, 2, 2, 2]
    assert given.agents.tolist() == [False, True, True]
    without = gallery(whole, parts, [0, 1, 1, 2], torch.zeros(0, 2), background_is_agent=True)
    assert without.labels.tolist() == [0, 1, 1, 2]


def test_a_crop_is_black_outside_of_its_mask() -> None:
    image = np.random.default_rng(0).integers(1, 256, (6, 8, 3), dtype=np.uint8)
    mask = np.zeros((6, 8), bool)
    mask[2, 3] = mask[4, 5] = True
    found = crop(image, mask)
    assert found.shape == (3, 3, 3)
    assert (found[0, 0] == image[2, 3]).all()
    assert (found[2, 2] == image[4, 5]).all()
    assert found.any(axis=-1).sum() == 2


@pytest.mark.parametrize("overlap", ["smallest", "best_matched", "best_cut"])
def test_overlapping_regions_are_painted_by_priority(overlap: Overlap) -> None:
    rng = np.random.default_rng(3)
    masks = rng.random((5, 9, 11)) < np.array([0.1, 0.5, 0.3, 0.2, 0.4])[:, None, None]
    scores, estimates = rng.random(5), rng.random(5)
    labels = np.array([4, 2, 7, 2, 1])
    found = paint(
        masks,
        labels,
        priorities(overlap, masks, scores, estimates),
        elsewhere=9,
        dtype=np.dtype(np.uint8),
    )
    assert found.dtype == np.uint8
    rank = {"smallest": -masks.sum(axis=(1, 2)), "best_matched": scores, "best_cut": estimates}
    for y in range(9):
        for x in range(11):
            here = [p for p in range(5) if masks[p, y, x]]
            expected = labels[max(here, key=lambda p: rank[overlap][p])] if here else 9
            assert found[y, x] == expected


def test_without_regions_everything_is_elsewhere() -> None:
    none = np.zeros((0, 2, 3), bool)
    empty = np.zeros(0)
    painted = paint(none, empty.astype(int), empty, elsewhere=5, dtype=np.dtype(np.uint16))
    assert painted.tolist() == [[5] * 3] * 2
    masks, estimates = with_remainder(none, empty.astype(np.float32))
    assert masks.all()
    assert masks.shape == (1, 2, 3)
    assert estimates.tolist() == [0]


def test_the_remainder_is_one_more_region() -> None:
    masks = np.zeros((2, 3, 3), bool)
    masks[0, 0] = masks[1, 1] = True
    more, estimates = with_remainder(masks, np.array([0.9, 0.8], np.float32))
    assert more[2].tolist() == [[False] * 3, [False] * 3, [True] * 3]
    assert len(estimates) == 3
    masks[0] = True
    assert with_remainder(masks, estimates[:2])[0] is masks
