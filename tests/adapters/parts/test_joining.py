"""Masks of several classes in one map, against a loop over the pixels."""

from __future__ import annotations

import numpy as np
import pytest

from ovbench.adapters.parts.exemplars import require_masks
from ovbench.adapters.parts.joining import ClassMask, ask_each
from ovbench.errors import UsageError
from ovbench.harness.contract.vocabulary import ClassQuery, Exemplar, Vocabulary

SIZE = (9, 7)
RNG = np.random.default_rng(0)
ANSWERS = [ClassMask(RNG.random(SIZE) < 0.4, score) for score in (0.3, 0.9, 0.3, -0.2)]
NAMES = ("a", "b", "c", "d")


def by_pixels(classes: list[int], background: bool) -> np.ndarray:
    """The rule, read out loud."""
    labels = np.zeros(SIZE, int)
    surest = max(classes, key=lambda c: (ANSWERS[c].score, -c))
    for y, x in np.ndindex(*SIZE):
        holding = [c for c in classes if ANSWERS[c].mask[y, x]]
        if holding:
            best = max(holding, key=lambda c: (ANSWERS[c].score, -c))
            labels[y, x] = best + background
        else:
            labels[y, x] = 0 if background else surest
    return labels


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("classes", [[0, 1, 2, 3], [0, 2], [2, 3]])
def test_the_rule(classes: list[int], background: bool) -> None:
    vocabulary = Vocabulary.of(*NAMES, background=background)
    candidates = [c + background for c in classes]
    found = ask_each(ANSWERS.__getitem__, vocabulary, candidates, SIZE)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, by_pixels(classes, background))


def test_classes_that_may_not_be_answered_are_not_asked_for() -> None:
    vocabulary = Vocabulary.of(*NAMES, background=True)
    asked = []

    def ask(index: int) -> ClassMask:
        asked.append(index)
        return ANSWERS[index]

    ask_each(ask, vocabulary, [2], SIZE)
    assert asked == [1]
    assert not ask_each(ask, vocabulary, [], SIZE).any()
    assert asked == [1]
    # Without a background some label is needed.
    ask_each(ask, Vocabulary.of(*NAMES), [], SIZE)
    assert asked == [1, 0, 1, 2, 3]


IMAGE = np.zeros((4, 6, 3), np.uint8)
FAULTS = {
    "has none": None,
    "has an empty one": np.zeros((4, 6), np.bool_),
    "has one of 4x6 pixels for 6x4": np.ones((6, 4), np.bool_),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_masks_that_are_of_no_use(fault: str) -> None:
    good, bad = Exemplar(IMAGE, np.ones((4, 6), np.bool_)), Exemplar(IMAGE, FAULTS[fault])
    require_masks(Vocabulary((ClassQuery("cat", exemplars=(good, good)),)), "it")
    vocabulary = Vocabulary((ClassQuery("dog", exemplars=(good, bad)),))
    with pytest.raises(UsageError, match=f"it needs .* of dog, number 2, {fault}; .* or type x"):
        require_masks(vocabulary, "it", "type x")


def test_no_pictures_at_all() -> None:
    with pytest.raises(UsageError, match="none shows cat"):
        require_masks(Vocabulary.of("cat"), "it")
