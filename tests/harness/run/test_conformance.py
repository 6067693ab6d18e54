"""The kit must pass what keeps the contract and fail, by name, what breaks it."""

from __future__ import annotations

import mmap
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

from ovbench.harness.contract.published import Published
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.harness.registry.methods import Method
from ovbench.harness.run.conformance import Outcome, conformance_checks

FIRST = Vocabulary.of("cat", "dog", "bird", background=True)
SECOND = Vocabulary.of("sea", "sky")


class Brightness:
    """Keeps the contract: the label is the pixel's brightness, among the allowed labels."""

    def prepare(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary

    def segment(self, images: Any, candidates: Any = None) -> list[Any]:
        background = range(self.vocabulary.offset)
        allowed = [sorted({*c, *background}) for c in candidates] if candidates else None
        choices = allowed or [range(len(self.vocabulary))] * len(images)
        return [self.one(image, np.array(c)) for image, c in zip(images, choices, strict=True)]

    def one(self, image: Any, choice: Any) -> Any:
        level = image.mean(axis=-1, dtype=np.float32) / 256
        return choice[(level * len(choice)).astype(int)].astype(np.uint8)


class ForgetsPrepare(Brightness):
    def prepare(self, vocabulary: Vocabulary) -> None:
        if not hasattr(self, "vocabulary"):
            self.vocabulary = vocabulary


class Scribbles(Brightness):
    def one(self, image: Any, choice: Any) -> Any:
        answer = super().one(image, choice)
        image[0, 0] ^= 255
        return answer


class EndsTheProgram(Brightness):
    """As a script does that was made a method: a tiny picture is an error to it."""

    def one(self, image: Any, choice: Any) -> Any:
        if image.size < 10:
            sys.exit(0)
        return super().one(image, choice)


class Drifts(Brightness):
    calls = 0

    def one(self, image: Any, choice: Any) -> Any:
        self.calls += 1
        return np.roll(super().one(image, choice), self.calls, axis=1)


class DiffersByInstance(Brightness):
    built = 0

    def __init__(self) -> None:
        DiffersByInstance.built += 1
        self.shift = DiffersByInstance.built

    def one(self, image: Any, choice: Any) -> Any:
        return np.roll(super().one(image, choice), self.shift, axis=1)


class PadsToTheBatch(Brightness):
    def segment(self, images: Any, candidates: Any = None) -> list[Any]:
        answers = super().segment(images, candidates)
        return [np.roll(answer, len(images), axis=1) for answer in answers]


class IgnoresCandidates(Brightness):
    def segment(self, images: Any, candidates: Any = None) -> list[Any]:
        return super().segment(images, None)


class Crops(Brightness):
    def one(self, image: Any, choice: Any) -> Any:
        return super().one(image, choice)[:, :64]


class CannotDoOnePixel(Brightness):
    def one(self, image: Any, choice: Any) -> Any:
        assert image.shape[0] > 1
        return super().one(image, choice)


class Leaks(Brightness):
    kept: list[Any] = []  # noqa: RUF012

    def one(self, image: Any, choice: Any) -> Any:
        # Of the system itself: what other tests freed in this process would serve for an array.
        pages = np.frombuffer(mmap.mmap(-1, 2**23), np.uint8)
        pages[:] = 1
        self.kept.append(pages)
        return super().one(image, choice)


class AsShown(Brightness):
    """Needs to be shown every class; answers with the one whose object is as bright."""

    needs_exemplars = True

    def prepare(self, vocabulary: Vocabulary) -> None:
        super().prepare(vocabulary)
        shown = [query.exemplars[0] for query in vocabulary.classes]
        self.levels = [e.image[e.mask].mean() for e in shown if e.mask is not None]
        assert len(set(self.levels)) == len(self.levels)  # each class is shown by another one

    def one(self, image: Any, choice: Any) -> Any:
        offset = self.vocabulary.offset
        levels = np.array([0.0] * offset + self.levels)[choice]
        nearest = abs(image.mean(axis=-1)[..., None] - levels).argmin(axis=-1)
        return choice[nearest].astype(np.uint8)


class ForgetsWhatItWasShown(AsShown):
    def prepare(self, vocabulary: Vocabulary) -> None:
        if not hasattr(self, "levels"):
            super().prepare(vocabulary)
        self.vocabulary = vocabulary


@dataclass(frozen=True)
class Level:
    level: float = 1.0


class NamesNoSetting(Brightness):
    Settings = Level
    presets: ClassVar[dict[str, Any]] = {"dark": {"levle": 0.1}}


class HasAWrongRow(Brightness):
    Settings = Level
    published = (Published(dataset="voc", background="class", settings={"lvl": 1}, source="here"),)


class HasARowTwice(Brightness):
    Settings = Level
    published = (Published(dataset="voc", background="class", settings={}, source="here"),) * 2


def check(build: Callable[[], Any]) -> list[Outcome]:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (40, 60, 3), dtype=np.uint8) for _ in range(3)]
    return list(conformance_checks(lambda: Method.of(build()), (FIRST, SECOND), images))


def failed(outcomes: list[Outcome]) -> set[str]:
    return {outcome.name for outcome in outcomes if not outcome.passed}


def test_a_method_that_keeps_the_contract_passes_everything() -> None:
    outcomes = check(Brightness)
    assert failed(outcomes) == set()
    assert len(outcomes) == 12


def test_a_method_that_needs_exemplars_gets_them() -> None:
    assert failed(check(AsShown)) == set()


@pytest.mark.parametrize(
    ("method", "name"),
    [
        (ForgetsWhatItWasShown, "a second vocabulary replaces the first"),
        (ForgetsPrepare, "a second vocabulary replaces the first"),
        (Scribbles, "leaves its input untouched"),
        (EndsTheProgram, "a 1-pixel image"),
        (Drifts, "same answer when asked again"),
        (DiffersByInstance, "same answer when built again with the same seed"),
        (PadsToTheBatch, "answer does not depend on the batch"),
        (IgnoresCandidates, "stays within the candidates"),
        (Crops, "a very wide and a very tall image"),
        (CannotDoOnePixel, "a 1-pixel image"),
        (Leaks, "memory"),
        (NamesNoSetting, "presets are made of its settings"),
        (HasAWrongRow, "presets are made of its settings"),
        (HasARowTwice, "presets are made of its settings"),
    ],
)
def test_a_method_that_breaks_it_fails_the_right_check(method: Any, name: str) -> None:
    assert name in failed(check(method))
    Leaks.kept.clear()
