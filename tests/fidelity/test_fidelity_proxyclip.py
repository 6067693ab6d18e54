"""ProxyCLIP against what the released function computed from random weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from oracles import built, picture, require_close, rows, vectors
from torch import Tensor

from ovbench.adapters.dense_clip import proxyclip
from ovbench.adapters.dense_clip.proxyclip import ProxyCLIP
from ovbench.adapters.parts.vfm import VFM


@pytest.fixture(autouse=True)
def _no_vfm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its features are given."""
    monkeypatch.setattr(proxyclip, "load_vfm", lambda *_, **__: VFM((), 1, lambda x: x))


def method(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> ProxyCLIP:
    found = built(monkeypatch, ProxyCLIP, **settings)
    assert isinstance(found, ProxyCLIP)
    return found


def seen(shape: str) -> Tensor:
    return vectors("proxyclip")[f"{shape}.vfm"]


@pytest.mark.parametrize("shape", ["square", "small"])
def test_square_windows(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    own = method(monkeypatch)
    own.vfm = VFM((), 1, lambda _: seen(shape))
    found = rows(own.features(picture(shape)))[:, ::4]
    require_close(found, vectors("proxyclip")[f"{shape}.dense"])


def test_other_constants(monkeypatch: pytest.MonkeyPatch) -> None:
    own = method(monkeypatch, beta=1.0, gamma=5.0)
    trunk = own.clip.trunk(picture("square"), positions="dino")
    found = rows(own.proxied(trunk, seen("square")))[:, ::4]
    require_close(found, vectors("proxyclip")["square.dense_beta1.0_gamma5.0"])


def test_a_wide_window_is_not_read_across_as_the_released_function_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its values, 14 rows of 19, are read there as 19 rows of 14; here as they lie."""
    released = vectors("proxyclip")["wide.dense_as_released_transposed_grid"]
    own = method(monkeypatch)
    trunk = own.clip.trunk(picture("wide"), positions="dino")
    assert trunk.grid == (14, 19)
    across = own.proxied(replace(trunk, grid=(19, 14)), seen("wide"))
    require_close(rows(across)[:, ::4], released)
    right = rows(own.proxied(trunk, seen("wide")))[:, ::4]
    assert float((right - released).abs().max()) > 0.3


def test_windows_and_what_they_are_compared_in_make_no_difference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The mean is of each window's own cosines, however many are compared at a time."""
    own = method(monkeypatch)
    pictures = torch.cat([picture("square"), picture("square").flip(3)])
    features = torch.cat([seen("square"), 3 * seen("square").square()])
    alone = [
        own.proxied(own.clip.trunk(x[None], positions="dino"), y[None])
        for x, y in zip(pictures, features, strict=True)
    ]
    for pairs in (proxyclip.PAIRS, 1):
        monkeypatch.setattr(proxyclip, "PAIRS", pairs)
        together = own.proxied(own.clip.trunk(pictures, positions="dino"), features)
        torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=1e-5)
