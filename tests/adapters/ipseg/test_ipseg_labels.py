"""Which class gets a pixel."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from ovbench.adapters.ipseg.labels import Canvas, similarity_in
from ovbench.harness.contract.vocabulary import Vocabulary

RNG = np.random.default_rng(0)
MASKS = RNG.random((3, 9, 11)) > 0.6


def painted(vocabulary: Vocabulary, order: tuple[int, ...], worth: tuple[float, ...]) -> Canvas:
    canvas = Canvas((9, 11), vocabulary)
    for i in order:
        canvas.paint(MASKS[i], vocabulary.offset + i, worth[i])
    return canvas


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_worthiest_mask_shows_whatever_the_order(order: tuple[int, ...]) -> None:
    vocabulary = Vocabulary.of("a", "b", "c", background=True)
    worth = (0.2, -0.5, 0.7)
    found = painted(vocabulary, order, worth).finish(vocabulary, np.array([1, 2, 3]), [])
    for y, x in np.ndindex(found.shape):
        covering = [i for i in range(3) if MASKS[i, y, x]]
        expected = 1 + max(covering, key=lambda i: worth[i]) if covering else 0
        assert found[y, x] == expected


def test_without_a_background_bare_pixels_go_to_the_most_similar_class() -> None:
    vocabulary = Vocabulary.of("a", "b", "c")
    maps = [torch.full((2, 2), value) for value in (0.1, 0.3, 0.2)]
    maps[2][:, 1] = 0.9
    canvas = painted(vocabulary, (0,), (0.5, 0, 0))
    found = canvas.finish(vocabulary, np.array([0, 1, 2]), maps)
    assert (found[MASKS[0]] == 0).all()
    bare = ~MASKS[0]
    assert set(found[bare].tolist()) == {1, 2}
    assert (found[:, 0][bare[:, 0]] == 1).all()
    assert (found[:, -1][bare[:, -1]] == 2).all()


def test_no_class_at_all_is_background() -> None:
    vocabulary = Vocabulary.of("a", background=True)
    found = Canvas((3, 4), vocabulary).finish(vocabulary, np.array([], np.intp), [])
    assert found.shape == (3, 4)
    assert not found.any()


def test_similarity_in_a_mask() -> None:
    similarities = torch.as_tensor(RNG.normal(size=(3, 3)), dtype=torch.float32)
    mask = RNG.random((6, 9)) > 0.5
    values = [similarities[y // 2, x // 3].item() for y, x in zip(*np.nonzero(mask), strict=True)]
    assert similarity_in(mask, similarities) == pytest.approx(np.mean(values), abs=1e-5)
    assert similarity_in(np.zeros((6, 9), np.bool_), similarities) == 0
