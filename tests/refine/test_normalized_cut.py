"""MaskCut on blocks whose masks are known, against dense algebra, and on rendered scenes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy import linalg
from torch.nn import functional

from ovbench.datasets import load_dataset
from ovbench.harness.contract.runtime import Runtime
from ovbench.models.patches.encoder import load_patch_encoder
from ovbench.models.pixels.inputs import input_tensor
from ovbench.refine import normalized_cut
from ovbench.refine.normalized_cut import cut_masks, panoptic_cuts, second_eigenvector

Features = npt.NDArray[np.float64]


def scene(*blocks: tuple[slice, slice], size: int = 12, noise: float = 0.1) -> Features:
    """A background and blocks, each along an axis of its own, with some noise."""
    rng = np.random.default_rng(0)
    features = noise * rng.normal(size=(size, size, 8))
    features[..., 0] += 1
    for axis, block in enumerate(blocks, start=1):
        features[block] = noise * rng.normal(size=features[block].shape)
        features[block][..., axis] += 1
    return features


def filled(*block: slice, size: int = 12) -> npt.NDArray[np.bool_]:
    mask = np.zeros((size, size), dtype=bool)
    mask[block] = True
    return mask


def iou(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_]) -> float:
    return float((a & b).sum() / (a | b).sum())


FIRST, SECOND = (slice(2, 5), slice(2, 5)), (slice(6, 11), slice(7, 10))


def test_one_block() -> None:
    (mask, *_) = cut_masks(scene(FIRST))
    assert mask.dtype == np.bool_
    assert (mask == filled(*FIRST)).all()


def test_blocks_come_one_after_the_other() -> None:
    masks = cut_masks(scene(FIRST, SECOND))
    found = {mask.tobytes() for mask in masks[:2]}
    assert found == {filled(*FIRST).tobytes(), filled(*SECOND).tobytes()}
    assert np.sum(masks, axis=0).max() == 1
    assert len(cut_masks(scene(FIRST, SECOND), count=1)) == 1


def test_what_is_alike_but_apart_is_two_objects() -> None:
    features = scene(FIRST)
    features[7:11, 7:11] = features[2, 2]
    first, second, *_ = cut_masks(features)
    assert {first.sum(), second.sum()} == {9, 16}


@pytest.mark.parametrize("turn", [1, -1])
def test_the_sign_of_an_eigenvector_means_nothing(
    turn: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    solve = normalized_cut.second_eigenvector
    monkeypatch.setattr(normalized_cut, "second_eigenvector", lambda w: turn * solve(w))
    # The block is larger than what is around it, which holds all corners.
    large = (slice(1, 11), slice(1, 11))
    assert (cut_masks(scene(large))[0] == filled(*large)).all()
    assert (cut_masks(scene(FIRST))[0] == filled(*FIRST)).all()


def test_a_foreground_may_hold_two_corners_but_not_three() -> None:
    strip = (slice(0, 12), slice(0, 3))
    assert (cut_masks(scene(strip))[0] == filled(*strip)).all()
    features = scene((slice(3, 12), slice(3, 12)))  # background: three corners, fewer patches
    assert (cut_masks(features)[0] == filled(slice(3, 12), slice(3, 12))).all()


def test_nothing_to_cut() -> None:
    assert cut_masks(np.ones((4, 4, 3))) == []
    assert cut_masks(np.zeros((4, 4, 3))) == []
    assert cut_masks(np.ones((1, 1, 3))) == []


def test_panoptic_cuts_go_on_with_what_is_left_alone() -> None:
    third = (slice(8, 11), slice(1, 4))
    masks = panoptic_cuts(scene(FIRST, SECOND, third))
    assert np.sum(masks, axis=0).max() == 1
    found = {mask.tobytes() for mask in masks}
    assert {filled(*block).tobytes() for block in (FIRST, SECOND, third)} <= found
    assert len(panoptic_cuts(scene(FIRST, SECOND, third), count=2)) == 2
    assert panoptic_cuts(np.ones((4, 4, 3))) == []
    assert panoptic_cuts(scene(FIRST)[:1, :5]) == []  # too few to be cut


def test_a_panoptic_cut_is_that_of_the_dense_problem_among_free_patches() -> None:
    features = scene(FIRST, SECOND, noise=0.25)
    first, second, *_ = panoptic_cuts(features, tau=0.5)
    free = features[~first]
    unit = free / np.linalg.norm(free, axis=1, keepdims=True)
    weights = np.where(unit @ unit.T > 0.5, 1.0, 1e-5)
    degrees = np.diag(weights.sum(axis=1))
    vector = linalg.eigh(degrees - weights, degrees)[1][:, 1]
    sides = vector > vector.mean()
    # Of the second mask all patches are on one side, with the strongest of that side.
    (side,) = np.unique(sides[second[~first]])
    strength = vector if side else -vector
    assert second[~first][strength.argmax()]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("lanczos_fails", [False, True])
def test_the_eigenvector_is_that_of_the_dense_problem(
    seed: int, lanczos_fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(60, 6))
    weights = np.where(features @ features.T > 0.15, 1.0, 1e-5)
    degrees = np.diag(weights.sum(axis=1))
    expected = linalg.eigh(degrees - weights, degrees)[1][:, 1]
    if lanczos_fails:
        failure = normalized_cut.ArpackNoConvergence("none", np.empty(0), np.empty((60, 0)))

        def fail(*_: object, **__: object) -> None:
            raise failure

        monkeypatch.setattr(normalized_cut, "eigsh", fail)
    found = second_eigenvector(weights)
    found, expected = (v / np.linalg.norm(v) for v in (found, expected))
    assert min(np.abs(found - expected).max(), np.abs(found + expected).max()) < 1e-9


def test_things_of_rendered_scenes_are_found() -> None:
    encoder = load_patch_encoder("dino", "dino_vitb8", Runtime(checkpoints="toy"))
    scenes = load_dataset("toyworld")
    found, whole = [], []
    for index in range(24):
        sample = scenes.load(index)
        side = 2 * sample.image.shape[0]
        pixels = input_tensor(
            sample.image,
            (side, side),
            mean=encoder.mean,
            std=encoder.std,
            mode="bilinear",
            device=encoder.device,
        )
        keys = encoder.features(pixels[None], facet="key")[0].permute(1, 2, 0).numpy()
        mask = torch.from_numpy(cut_masks(keys)[0].astype(np.float32))[None, None]
        first = functional.interpolate(mask, sample.label.shape)[0, 0].numpy() > 0
        things = [sample.label == label for label in np.unique(sample.label) if label > 0]
        found.append(max(iou(first, thing) for thing in things))
        whole.append(max(thing.mean() for thing in things))
    print(f"IoU {np.mean(found):.3f}, of the whole picture {np.mean(whole):.3f}")
    assert np.mean(found) > 3 * np.mean(whole)
    assert np.mean(found) > 0.35
