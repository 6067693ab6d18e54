"""LSeg as a method, on random weights of a small size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_lseg import tiny_lseg

from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import Precision
from ovbench.harness.contract.vocabulary import Background, ClassQuery, Vocabulary
from ovbench.harness.registry.methods import load_method
from ovbench.harness.run.conformance import conformance_checks
from ovbench.harness.run.runner import evaluate
from ovbench.leaderboards.tables.marks import marks
from ovbench.models.pixelwise import lseg

VOCABULARY = Vocabulary(
    (ClassQuery("cat", ("kitten",)), ClassQuery("dog"), ClassQuery("bird")),
    Background(("background", "grass")),
)
SMALL = {"weights": "random", "pretrained": "random", "base_side": 60, "window": 32,
         "window_stride": 20, "scales": (0.5, 1.0), "flip": False}  # fmt: skip


@pytest.fixture
def settings(tiny_architecture: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(lseg, "_released", tiny_lseg)
    return {**SMALL, "architecture": tiny_architecture}


@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=pytest.mark.slow)])
def test_it_keeps_the_contract(settings: dict[str, Any], precision: Precision) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(3)]
    outcomes = conformance_checks(
        lambda: load_method(
            "lseg", settings=settings, device="cpu", precision=precision, checkpoints="real"
        ),
        [VOCABULARY, Vocabulary.of("sea", "sky")],
        images,
    )
    assert [(o.name, o.finding) for o in outcomes if not o.passed] == []


def test_pictures_of_any_size_are_answered_within_their_candidates(
    settings: dict[str, Any],
) -> None:
    method = load_method("lseg", settings=settings, device="cpu", checkpoints="real").segmenter
    method.prepare(VOCABULARY)
    for size in ((1, 1), (1, 300), (300, 2), (33, 47)):
        (labels,) = method.segment([np.full((*size, 3), 90, np.uint8)], [{2}])
        assert labels.shape == size
        assert set(np.unique(labels)) <= {0, 2}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"window": 40}, r"window=40 must be a multiple of 32$"),
        ({"window": 32, "window_stride": 33}, r"window_stride=33: pixels .* to at most 32$"),
        ({"window": 0}, "window must be positive"),
        ({"scales": (1.0, 0.0)}, "scales must be positive"),
        ({"scales": ()}, "scales must be positive, and there must be one"),
    ],
)
def test_settings_that_cannot_be(
    settings: dict[str, Any], changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        load_method("lseg", settings={**settings, **changes}, device="cpu", checkpoints="real")


def test_another_clip_is_refused(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lseg.LSeg, "embed", None)  # nothing is seen before
    method = load_method("lseg", settings=settings, device="cpu", checkpoints="real").segmenter
    method.joint = 512  # type: ignore[attr-defined]
    said = "embeds texts in 32 numbers and the network pixels in 512: set architecture to the CLIP"
    with pytest.raises(UsageError, match=said):
        method.prepare(VOCABULARY)


def test_every_result_says_that_it_saw_masks(
    settings: dict[str, Any], memory_dataset: Any, tmp_path: Path
) -> None:
    method = load_method("lseg", settings=settings, device="cpu", checkpoints="real")
    result = evaluate(method, memory_dataset(count=1), output=tmp_path / "run")
    assert result is not None
    assert "trained on masks: not comparable with methods that never saw one" in marks(result)
    other = load_method("constant", device="cpu")
    assert not other.subject.warnings
