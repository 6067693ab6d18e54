"""The floors must answer at chance, within bounds, and the same whatever the batch."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from ovbench.adapters.chance import Constant, ConstantSettings, Random, RandomSettings
from ovbench.adapters.parts.candidates import allowed_labels
from ovbench.errors import UsageError
from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.vocabulary import Vocabulary

WITH = Vocabulary.of("cat", "dog", "bird", background=True)
WITHOUT = Vocabulary.of("sea", "sky", "sand")


def images(count: int = 3) -> list[Image]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (40 + i, 50, 3), dtype=np.uint8) for i in range(count)]


def random(seed: int = 0, vocabulary: Vocabulary = WITH) -> Random:
    method = Random(RandomSettings(), Runtime(seed=seed))
    method.prepare(vocabulary)
    return method


def test_random_is_uniform() -> None:
    counts = np.bincount(random().segment(images(1))[0].ravel(), minlength=4)
    expected = 40 * 50 / 4
    assert (np.abs(counts - expected) < 5 * np.sqrt(expected)).all()


def test_random_depends_on_content_and_seed_alone() -> None:
    first = random().segment(images())
    backwards = random().segment(images()[::-1])[::-1]
    for a, b in zip(first, backwards, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (first[0] != random(seed=1).segment(images())[0]).any()
    black, grey = (np.full((40, 50, 3), level, dtype=np.uint8) for level in (0, 128))
    answers = random().segment([black, grey])
    assert (answers[0] != answers[1]).any()


def test_random_stays_within_candidates() -> None:
    maps = random().segment(images(), [[2], [1, 3], []])
    assert [set(np.unique(m)) for m in maps] == [{0, 2}, {0, 1, 3}, {0}]
    maps = random(vocabulary=WITHOUT).segment(images(), [[2], [0, 1], [1]])
    assert [set(np.unique(m)) for m in maps] == [{2}, {0, 1}, {1}]


def test_random_uses_wide_labels_for_wide_vocabularies() -> None:
    vocabulary = Vocabulary.of(*(f"class {i}" for i in range(300)))
    answer = random(vocabulary=vocabulary).segment(images(1))[0]
    assert answer.dtype == np.uint16
    assert answer.max() > 255


def test_constant_answers_one_label() -> None:
    method = Constant(ConstantSettings(label=2), Runtime())
    method.prepare(WITH)
    maps = method.segment(images(2))
    assert [m.shape for m in maps] == [(40, 50), (41, 50)]
    assert {int(v) for m in maps for v in np.unique(m)} == {2}


def test_constant_stays_within_candidates() -> None:
    method = Constant(ConstantSettings(label=2), Runtime())
    method.prepare(WITHOUT)
    maps = method.segment(images(3), [[0, 1], [1, 2], [1]])
    assert [int(m[0, 0]) for m in maps] == [0, 2, 1]


def test_constant_outside_the_vocabulary() -> None:
    with pytest.raises(UsageError, match=r"label=4.*0\.\.3"):
        Constant(ConstantSettings(label=4), Runtime()).prepare(WITH)


def test_allowed_labels() -> None:
    assert allowed_labels(WITH, None).tolist() == [0, 1, 2, 3]
    assert allowed_labels(WITH, {3, 1}).tolist() == [0, 1, 3]
    assert allowed_labels(WITH, ()).tolist() == [0]
    assert allowed_labels(WITHOUT, (1,)).tolist() == [1]
    assert allowed_labels(WITHOUT, ()).tolist() == [0, 1, 2]


def test_floors_need_no_torch() -> None:
    program = "import sys, ovbench.adapters.chance; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
