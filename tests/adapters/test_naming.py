"""Methods that name groups, on tiny networks with random weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tiny_ovsegmentor import tiny_ovsegmentor
from tiny_segclip import tiny_segclip

from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.runtime import Precision, Runtime
from ovbench.harness.contract.settings import override
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.harness.registry.methods import load_method
from ovbench.harness.registry.names import METHODS
from ovbench.harness.run.conformance import conformance_checks
from ovbench.models.grouping import ovsegmentor, segclip

SMALL = {"weights": "random", "short_side": 48, "window": 48, "window_stride": 24,
         "max_long_side": 160}  # fmt: skip
BEHIND = Vocabulary.of("cat", "dog", "bird", "sheep", background=True)
NAMES = ("ovsegmentor", "segclip")


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ovsegmentor, "_new", tiny_ovsegmentor)
    monkeypatch.setattr(segclip, "_new", tiny_segclip)


def built(name: str, precision: Precision = "fp32", **settings: Any) -> Any:
    method = METHODS.load(name)
    made = method(override(method.Settings, {**SMALL, **settings}), Runtime(precision=precision))
    made.prepare(BEHIND)
    return made


def picture(height: int, width: int) -> Image:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", NAMES)
def test_contract(name: str) -> None:
    images = [picture(48, 64), picture(40, 40), picture(30, 70)]
    outcomes = conformance_checks(
        lambda: load_method(name, settings=SMALL, device="cpu", checkpoints="real"),
        (BEHIND, Vocabulary.of("sea", "sky")),
        images,
    )
    assert [(o.name, o.finding) for o in outcomes if not o.passed] == []


@pytest.mark.parametrize("name", NAMES)
def test_background_is_what_is_not_sure(name: str) -> None:
    image, found = picture(60, 90), []
    for threshold in (0.0, 1.0):
        method = built(name, background_threshold=threshold)
        assert len(method.text) == 4
        found.append(method.segment([image])[0])
    never, mostly = found
    assert never.all()
    assert not mostly.all()
    assert mostly.any()  # a window's best group is never background


@pytest.mark.parametrize("name", NAMES)
def test_half_precision(name: str) -> None:
    image = picture(60, 90)
    (full,), (half,) = built(name).segment([image]), built(name, "bf16").segment([image])
    assert (full == half).mean() > 0.5
