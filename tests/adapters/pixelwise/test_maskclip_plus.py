"""MaskCLIP+ as a method, on random weights of a small size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tiny_student import be_tiny

from ovbench.harness.contract.vocabulary import Background, ClassQuery, Vocabulary
from ovbench.harness.registry.methods import load_method
from ovbench.harness.run.conformance import conformance_checks

VOCABULARY = Vocabulary(
    (ClassQuery("cat", ("kitten",)), ClassQuery("dog"), ClassQuery("bird")),
    Background(("background", "grass")),
)


@pytest.fixture
def settings(tiny_architecture: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    be_tiny(monkeypatch)
    return {"weights": "random", "pretrained": "random", "architecture": tiny_architecture,
            "prompts": "single", "short_side": 48, "max_long_side": 96}  # fmt: skip


def test_it_keeps_the_contract(settings: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(3)]
    outcomes = conformance_checks(
        lambda: load_method("maskclip_plus", settings=settings, device="cpu", checkpoints="real"),
        [VOCABULARY, Vocabulary.of("sea", "sky")],
        images,
    )
    assert [(o.name, o.finding) for o in outcomes if not o.passed] == []


def test_pictures_of_any_size_are_answered_within_their_candidates(
    settings: dict[str, Any],
) -> None:
    method = load_method("maskclip_plus", settings=settings, device="cpu", checkpoints="real")
    method.segmenter.prepare(VOCABULARY)
    for size in ((1, 1), (1, 300), (300, 2), (33, 47)):
        (labels,) = method.segmenter.segment([np.full((*size, 3), 90, np.uint8)], [{2}])
        assert labels.shape == size
        assert set(np.unique(labels)) <= {0, 2}
