"""CAT-Seg as a method and its file: the contract, windows that cannot be, and weights that are not
its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny_catseg
import torch
from open_clip import create_model
from torch import Tensor

from ovbench.adapters.pixelwise import catseg as adapter
from ovbench.adapters.pixelwise.catseg import CATSegSettings
from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.vocabulary import Background, ClassQuery, Vocabulary
from ovbench.harness.registry.methods import load_method
from ovbench.harness.run.conformance import conformance_checks
from ovbench.models.pixelwise import catseg as module
from ovbench.models.pixelwise.aggregation import Aggregation
from ovbench.models.pixelwise.catseg import VARIANTS, load_catseg, network
from ovbench.models.weights.checkpoints import Located

SOME = Vocabulary(
    (ClassQuery("cat"), ClassQuery("dog", ("puppy",)), ClassQuery("road")), Background()
)


def test_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    small = tiny_catseg.catseg(tiny_catseg.parts(tiny_catseg.SMALL), tiny_catseg.SMALL)
    monkeypatch.setattr(adapter, "load_catseg", lambda *_: small)
    rng = np.random.default_rng(1)
    images = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(3)]
    settings = {"short_side": 64, "square": 64, "window": 64, "window_stride": 64}
    outcomes = conformance_checks(
        lambda: load_method("catseg", settings=settings, device="cpu"),
        (SOME, Vocabulary.of("sea", "sky")),
        images,
    )
    assert [(o.name, o.finding) for o in outcomes if not o.passed] == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"window": 700}, "window=700 must be at most square=640"),
        ({"window_stride": 400}, "window_stride=400 must be at most window=384"),
        ({"window_stride": 250}, "window_stride=250 must divide square - window = 256"),
    ],
)
def test_pixels_that_no_window_would_show_are_refused(changes: dict[str, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        CATSegSettings(**changes)  # type: ignore[arg-type]


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[dict[str, Tensor]], None]:
    monkeypatch.setattr(module, "_released", lambda variant: tiny_catseg.parts())
    record = tiny_catseg.catseg(tiny_catseg.parts()).checkpoints

    def save(weights: dict[str, Tensor]) -> None:
        torch.save({"model": weights, "iteration": 79999}, tmp_path / "model.pth")
        monkeypatch.setattr(module, "locate", lambda *_: Located(tmp_path / "model.pth", record))

    return save


def test_weights_that_do_not_fit_are_named(put: Callable[[dict[str, Tensor]], None]) -> None:
    theirs = tiny_catseg.by_the_authors()
    put(theirs)
    assert load_catseg("catseg_base", Runtime()).side == 384
    home = "sem_seg_head.predictor."
    del theirs[f"{home}clip_model.visual.transformer.resblocks.8.attn.q_proj_weight"]
    theirs["backbone.stem.weight"] = torch.zeros(1)
    theirs[f"{home}transformer.conv1.weight"] = torch.zeros(16, 80, 7, 7)
    put(theirs)
    attention = r"clip\.visual\.transformer\.resblocks\.8\.attn\."
    said = (
        rf"lacks {attention}in_proj_weight, and has in addition backbone\.stem\.weight, "
        rf"{attention}k_proj_weight, {attention}v_proj_weight, "
        r"and has in other shapes aggregation\.embed\.weight$"
    )
    with pytest.raises(UsageError, match=said):
        load_catseg("catseg_base", Runtime())


@pytest.mark.parametrize("name", list(VARIANTS))
def test_both_released_models_see_24_places_a_side(name: str) -> None:
    variant = VARIANTS[name]
    with torch.device("meta"):
        visual = create_model(variant.clip, device="meta").visual
        made = network(visual, variant.sizes)
    assert variant.side // visual.conv1.kernel_size[0] == variant.sizes.grid == 24
    assert visual.proj.shape == (variant.sizes.width, variant.sizes.joint)
    assert max(variant.blocks) < len(visual.transformer.resblocks) - 1
    assert isinstance(made["aggregation"], Aggregation)
