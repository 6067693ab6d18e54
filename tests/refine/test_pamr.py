"""PAMR against its definition, one pixel and one neighbour at a time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch

from ovbench.refine import pamr as module
from ovbench.refine.pamr import pamr

Planes = npt.NDArray[np.float64]


def by_definition(
    image: Planes, scores: Planes, iterations: int, dilations: tuple[int, ...]
) -> Planes:
    channels, height, width = image.shape

    def around(y: int, x: int, with_self: bool) -> list[tuple[int, int]]:
        return [
            (min(max(y + d * dy, 0), height - 1), min(max(x + d * dx, 0), width - 1))
            for d in dilations
            for dy in (-1, 0, 1)
            for dx in (-1, 0, 1)
            if with_self or (dy, dx) != (0, 0)
        ]

    for _ in range(iterations):
        refined = np.zeros_like(scores)
        for y in range(height):
            for x in range(width):
                places = around(y, x, with_self=False)
                logits = np.zeros(len(places))
                for k in range(channels):
                    spread = np.std([image[k][p] for p in around(y, x, True)], ddof=1)
                    for i, place in enumerate(places):
                        distance = abs(image[k, y, x] - image[k][place])
                        logits[i] -= distance / (1e-8 + 0.1 * spread) / channels
                weights = np.exp(logits - logits.max())
                weights /= weights.sum()
                for weight, place in zip(weights, places, strict=True):
                    refined[:, y, x] += weight * scores[(slice(None), *place)]
        scores = refined
    return scores


def example(seed: int, shape: tuple[int, int] = (9, 7), classes: int = 3) -> tuple[Planes, Planes]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (3, *shape)).astype(float), rng.random((classes, *shape))


def refined(image: Planes, scores: Planes, iterations: int, dilations: tuple[int, ...]) -> Planes:
    tensors = torch.from_numpy(image).float(), torch.from_numpy(scores).float()
    return pamr(*tensors, iterations=iterations, dilations=dilations).double().numpy()


@pytest.mark.parametrize("dilations", [(1,), (1, 2, 4, 8, 12, 24), (3, 1)])
@pytest.mark.parametrize("shape", [(9, 7), (1, 5), (1, 1)])
def test_as_defined(dilations: tuple[int, ...], shape: tuple[int, int]) -> None:
    image, scores = example(0, shape)
    expected = by_definition(image, scores, 2, dilations)
    np.testing.assert_allclose(refined(image, scores, 2, dilations), expected, atol=2e-6)


def test_however_far_it_looks_the_edge_is_copied_no_further() -> None:
    """Ten million pixels of margin would be terabytes."""
    image, scores = example(5, (3, 5))
    near, far = (refined(image, scores, 1, (1, reach)) for reach in (5, 10**7))
    np.testing.assert_array_equal(near, far)


def test_one_colour_gives_the_mean_of_the_neighbours() -> None:
    image, scores = np.full((3, 6, 6), 128.0), example(1, (6, 6))[1]
    found = refined(image, scores, 1, (1,))
    around = scores[:, 1:4, 1:4].copy()
    around[:, 1, 1] = 0
    np.testing.assert_allclose(found[:, 2, 2], around.sum(axis=(1, 2)) / 8, atol=1e-6)


def test_scores_follow_an_edge_of_the_image() -> None:
    image, scores = np.zeros((3, 40, 40)), np.zeros((2, 40, 40))
    image[:, :, 20:] = 200.0
    image += np.random.default_rng(0).normal(0, 2, image.shape)
    scores[0, :, :24], scores[1, :, 24:] = 1, 1  # four columns too far
    corrected = (refined(image, scores, 10, (1, 2, 4, 8, 12, 24)).argmax(0) == 1)[:, 20:24]
    assert corrected.all()
    assert (refined(image, scores, 10, (1, 2, 4, 8, 12, 24)).argmax(0) == 0)[:, :20].all()


def test_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    image, scores = example(2, (8, 8), classes=5)
    whole = refined(image, scores, 3, (1, 4))
    monkeypatch.setattr(module, "_CHUNK_BYTES", 2 * 8 * 8 * 4)
    assert (refined(image, scores, 3, (1, 4)) == whole).all()


def test_scale_and_offset_of_the_image_do_not_matter() -> None:
    image, scores = example(3)
    other = refined(image / 51 - 2, scores, 2, (1, 2))
    np.testing.assert_allclose(other, refined(image, scores, 2, (1, 2)), atol=1e-5)


def test_no_iteration_changes_nothing_and_arguments_stay() -> None:
    image, scores = (torch.from_numpy(a).float() for a in example(4))
    kept = image.clone(), scores.clone()
    assert (pamr(image, scores, iterations=0) == scores).all()
    pamr(image, scores)
    assert (image == kept[0]).all()
    assert (scores == kept[1]).all()


def test_sizes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"image \(3, 4, 4\) and scores \(2, 4, 5\)"):
        pamr(torch.zeros(3, 4, 4), torch.zeros(2, 4, 5))
