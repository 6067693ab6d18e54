from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from ovbench.harness.contract.datasets import DatasetInfo, Prompt, Sample
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.harness.profile.image_size import ImageSize
from ovbench.harness.profile.timing import Job, figures


def sample(side: int, prompt: Prompt | None = None) -> Sample:
    image = np.zeros((side, side, 3), dtype=np.uint8)
    return Sample(str(side), image, image[..., 0], prompt)


def job(samples: Sequence[Sample], **changes: Any) -> Job:
    values: dict[str, Any] = {
        "method": "constant",
        "preset": None,
        "settings": {},
        "runtime": Runtime(),
        "vocabulary": Vocabulary.of("cat", "dog", background=True),
        "samples": samples,
        "info": DatasetInfo("memory", "val", "class"),
        "size": None,
        "batch_size": 3,
        "warmup": 1,
        "repeats": 1,
    }
    return Job(**{**values, **changes})


def test_batches_take_the_samples_in_turn() -> None:
    # The warm-up has 10, 20, 10; the measured batch 20, 10, 20.
    found = figures(job([sample(10), sample(20)]))
    assert found["pixels_per_image"] == pytest.approx((400 + 100 + 400) / 3)
    assert found["queries"] == len(job([]).vocabulary.query_texts) > 1
    assert found["per_query_s"] == pytest.approx(1 / found["images_per_s"] / found["queries"])
    assert found["images_per_s"] == pytest.approx(3 / found["latency_s"]["median"])
    assert found["settings"] == {"label": 0}


def test_a_size_replaces_the_samples_own() -> None:
    found = figures(job([sample(10), sample(20)], size=ImageSize(7, 5)))
    assert found["pixels_per_image"] == 35


def test_a_prompted_benchmark_prepares_within_the_images_time() -> None:
    one, two = (Prompt(name, Vocabulary.of(name, background=True), (0, 1)) for name in "ab")
    samples = [sample(10, one), sample(20, two)]
    prompted = DatasetInfo("memory", "val", "class", prompted=True)
    found = figures(job(samples, info=prompted, repeats=2, warmup=0))
    assert list(found["stages"]) == ["prepare"]
    assert 0 < found["stages"]["prepare"]["share"] < 1
