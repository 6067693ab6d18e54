"""CorrCLIP's three branches against what the released image tower returned."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles import built, picture, require_close, rows, vectors
from torch import Tensor

from ovbench.adapters.parts.vfm import VFM
from ovbench.adapters.regional import corrclip
from ovbench.adapters.regional.corrclip import CorrCLIP, with_regions
from ovbench.models.clip.trunk import on_grid


def shown(name: str, image: str) -> Tensor:
    """A picture with its regions, as windows have them; every eighth pixel of these is kept."""
    regions = vectors("corrclip_inputs")[f"{name}.regions"][0, 0].numpy()
    regions = regions.repeat(8, axis=0).repeat(8, axis=1)
    return with_regions(picture(image)[0], regions.astype(np.int32))[None]


def method(monkeypatch: pytest.MonkeyPatch, image: str, **settings: object) -> CorrCLIP:
    """On the features that the released function was given."""
    seen = vectors("corrclip_inputs")[f"{image}.vfm"]
    height, width = (side // 8 for side in picture(image).shape[2:])
    found = VFM((), 8, lambda _: on_grid(seen, (height, width)))
    monkeypatch.setattr(corrclip, "load_vfm", lambda *_, **__: found)
    monkeypatch.setattr(corrclip, "Regions", lambda *_: VFM((), 1, lambda _: _))
    return built(monkeypatch, CorrCLIP, **settings)


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("square", "square"),
        ("wide", "wide"),
        ("square.covered", "square"),
        ("square.tworegions", "square"),
    ],
)
def test_branches_are_added_up_as_released(
    name: str, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = vectors("corrclip")[f"{name}.dense"]
    with torch.inference_mode():
        found = method(monkeypatch, image).features(shown(name, image))
    require_close(rows(found)[:, ::4], expected)


@pytest.mark.parametrize(
    "changed",
    [
        {"merge": False},
        {"scope": False},
        {"spatial_weight": 0.0},
        {"semantic_weight": 0.0},
        {"temperature": 3.0},
        {"spatial_blocks": 4},
    ],
    ids=str,
)
def test_each_part_counts(changed: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    """What equals the released answer would not without any one of these."""
    expected = vectors("corrclip")["square.dense"]
    with torch.inference_mode():
        found = method(monkeypatch, "square", **changed).features(shown("square", "square"))
    with pytest.raises(AssertionError):
        require_close(rows(found)[:, ::4], expected, 1e-3)
