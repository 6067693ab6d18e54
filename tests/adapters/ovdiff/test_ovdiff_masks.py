"""Where a support picture shows its class: equation 1, the released code, and Otsu."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.filters import threshold_multiotsu
from skimage.morphology import erosion

from ovbench.adapters.ovdiff.masks import (
    Cuts,
    by_attribution,
    choose,
    enlarged,
    rescaled,
    with_background_mask,
)
from ovbench.adapters.ovdiff.multi_otsu import multi_otsu
from ovbench.adapters.ovdiff.proposals import MaskCutMasks
from ovbench.datasets import load_dataset
from ovbench.harness.contract.runtime import Runtime
from ovbench.refine.normalized_cut import cut_masks

CUTS = Cuts(foreground=0.5, background=0.2)


def blobs(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Attribution and overlapping rectangles."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((count, 16, 20), bool)
    for mask in masks:
        top, left = rng.integers(0, 12, 2)
        height, width = rng.integers(2, 8, 2)
        mask[top : top + height, left : left + width] = True
    return rng.random((16, 20), dtype=np.float32), masks


def mean_attribution(attribution: np.ndarray, mask: np.ndarray) -> float:
    inside = [attribution[y, x] for y in range(16) for x in range(20) if mask[y, x]]
    return sum(map(float, inside)) / len(inside)


@pytest.mark.parametrize("seed", range(8))
def test_equation_1_against_loops(seed: int) -> None:
    attribution, instances = blobs(seed, 4)
    rest = np.array([[not instances[:, y, x].any() for x in range(20)] for y in range(16)])
    candidates = [*instances, rest]
    means = [mean_attribution(attribution, mask) for mask in candidates]
    found = choose(attribution, instances, "equation_1", CUTS)
    assert (found[0] == candidates[means.index(max(means))]).all()
    assert (found[1] == candidates[means.index(min(means))]).all()


@pytest.mark.parametrize("seed", range(8))
def test_the_released_codes_rule_against_loops(seed: int) -> None:
    attribution, instances = blobs(seed, 4)
    candidates = list(with_background_mask(instances))
    means = [mean_attribution(attribution, mask) for mask in candidates]
    owner = np.full((16, 20), -1)
    for y in range(16):
        for x in range(20):
            owner[y, x] = max((means[i], i) for i, m in enumerate(candidates) if m[y, x])[1]
    left = [i for i in range(len(candidates)) if (owner == i).any()]
    best, worst = max(left, key=means.__getitem__), min(left, key=means.__getitem__)
    foreground, background = choose(attribution, instances, "released_code", CUTS)
    assert (foreground == (owner == best)).all()
    assert (background == erosion((owner == worst) & (attribution < 0.2))).all()


def test_without_instances_attribution_decides() -> None:
    attribution, _ = blobs(0, 1)
    for rule in ("equation_1", "released_code"):
        found = choose(attribution, np.zeros((2, 16, 20), bool), rule, CUTS)
        assert (found[0] == (attribution > 0.5)).all()
        assert (found[1] == (attribution < 0.2)).all()


def test_a_mask_that_covers_everything_has_no_background() -> None:
    attribution, _ = blobs(0, 1)
    for rule in ("equation_1", "released_code"):
        foreground, background = choose(attribution, np.ones((1, 16, 20), bool), rule, CUTS)
        assert foreground.all()
        assert not background.any()


@pytest.mark.parametrize("seed", range(6))
def test_otsu_against_scikit_image(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.concatenate([rng.normal(m, 0.05 + 0.02 * seed, 900) for m in (0.1, 0.4, 0.8)])
    values = rescaled(values.reshape(3, 30, 30).astype(np.float32))
    found = multi_otsu(values)
    assert found is not None
    np.testing.assert_allclose(found, threshold_multiotsu(values), atol=1e-6)


def test_otsu_of_three_values_and_of_too_few() -> None:
    values = np.array([0.0, 0.5, 1.0, 1.0])
    np.testing.assert_allclose(multi_otsu(values), threshold_multiotsu(values))  # type: ignore[arg-type]
    assert multi_otsu(np.array([0.0, 1.0])) is None


def test_attribution_alone_takes_otsus_upper_and_lower_region() -> None:
    rng = np.random.default_rng(0)
    attribution = rescaled(rng.choice([0.1, 0.5, 0.9], (4, 8, 8)).astype(np.float32))
    foreground, background = by_attribution(attribution, CUTS)
    assert (foreground == (attribution == 1)).all()
    assert (background == (attribution == 0)).all()
    fine = enlarged(attribution, (16, 16))
    low, high = multi_otsu(attribution)  # type: ignore[misc]
    fine[0, 0, :2] = low, high
    above, below = by_attribution(attribution, CUTS, fine)
    assert (above == (fine > np.float32(high))).all()
    assert (below == (fine < np.float32(low))).all()
    assert not above[0, 0, 1]
    flat = np.zeros((2, 8, 8), np.float32)
    flat[0, 0, 0] = 1
    fallback = by_attribution(flat, CUTS)
    assert fallback.foreground.sum() == 1
    assert fallback.background.sum() == 127


def test_maps_are_rescaled_one_by_one_and_enlarged() -> None:
    maps = np.array([[[1, 3], [2, 5]], [[7, 7], [7, 7]]], np.float32)
    np.testing.assert_allclose(rescaled(maps), [[[0, 0.5], [0.25, 1]], [[0, 0], [0, 0]]])
    large = enlarged(rescaled(maps), (4, 6))
    assert large.shape == (2, 4, 6)
    assert (large[0, 0, 0], large[0, -1, -1]) == (0, 1)


def test_cuts_are_brought_to_the_picture() -> None:
    source = MaskCutMasks("dino_vitb8", 2, Runtime(checkpoints="toy"))
    image = load_dataset("toyworld").load(3).image[:, :80]
    found = source.masks(image)
    assert found.shape[1:] == (96, 80)
    (keys,) = source._features.features([image], 80)
    cuts = cut_masks(keys.permute(1, 2, 0).numpy(), 2)
    assert len(found) == len(cuts) > 0
    assert (found.sum(axis=0) <= 1).all()
    for mask, cut in zip(found, cuts, strict=True):
        rows, columns = (np.arange(n) * c // n for n, c in zip((96, 80), cut.shape, strict=True))
        coarse = cut[rows[:, None], columns]
        assert (mask & coarse).sum() / (mask | coarse).sum() > 0.7
    nothing = MaskCutMasks("dino_vitb8", 0, Runtime(checkpoints="toy")).masks(image)
    assert nothing.shape == (0, 96, 80)
