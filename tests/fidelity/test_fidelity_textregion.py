"""TextRegion's pooling against what the released function returned."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from oracles import built, require_close, vectors
from torch import Tensor
from torch.nn.functional import normalize

from ovbench.adapters.parts.vfm import VFM
from ovbench.adapters.regional import textregion
from ovbench.adapters.regional.textregion import TextRegion, pool_values, values_of
from ovbench.models.clip.trunk import Trunk


def pooled(
    monkeypatch: pytest.MonkeyPatch, threshold: float | None, **settings: Any
) -> tuple[Tensor, Tensor]:
    """Region by query, and which regions are left; from tokens that enter the last block."""
    given = vectors("textregion_inputs")
    monkeypatch.setattr(textregion, "Regions", lambda *_: VFM((), 1, lambda _: _))
    own = built(monkeypatch, TextRegion, **settings)
    visual = own.clip.visual
    tokens = given["tokens_into_last_block"].transpose(0, 1)
    trunk = Trunk(visual, visual.transformer.resblocks[-1], tokens, (14, 14), {}, {})
    values = own.joined(values_of(trunk), (1, 2))
    assert values.shape[2:] == (14, 28)
    sums, kept = pool_values(values[0].flatten(1).T, given["masks"], threshold)
    return normalize(own._out(sums), dim=1) @ given["queries"].T, kept


@torch.inference_mode()
def test_regions_are_pooled_as_released(monkeypatch: pytest.MonkeyPatch) -> None:
    found, kept = pooled(monkeypatch, None)
    require_close(found, vectors("textregion")["remove0.region_logits"])
    assert kept.tolist() == vectors("textregion")["remove0.kept"].bool().tolist()


@torch.inference_mode()
def test_global_patches_are_removed_as_released_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = vectors("textregion")
    found, kept = pooled(monkeypatch, float(expected["threshold_used"]))
    require_close(found, expected["remove1.region_logits_fp32_values_overwritten"])
    assert kept.tolist() == expected["remove1.kept"].bool().tolist()
    other, _ = pooled(monkeypatch, -2.0)
    with pytest.raises(AssertionError):  # other patches are another answer
        require_close(other, expected["remove1.region_logits_fp32_values_overwritten"], 1e-3)
