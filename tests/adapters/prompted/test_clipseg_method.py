"""CLIPSeg as a network and as a method: a tiny model of the stock class, and the rule in loops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_clipseg
import torch
from open_clip import tokenize
from torch.nn import functional

from ovbench.adapters.prompted import clipseg as adapter
from ovbench.adapters.prompted.clipseg import CLIPSegMethod, CLIPSegSettings
from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.harness.contract.vocabulary import Background, ClassQuery, Vocabulary
from ovbench.harness.registry.methods import load_method
from ovbench.harness.run.conformance import conformance_checks
from ovbench.models.prompted import clipseg as module
from ovbench.models.prompted.clipseg import CLIPSeg
from ovbench.models.weights.checkpoints import Located

SOME = Vocabulary(
    (ClassQuery("cat"), ClassQuery("dog", ("puppy",)), ClassQuery("road")), Background()
)
IMAGE = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)
TEXTS = ["a cat", "wood", "something to fill"]


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "load_clipseg", lambda name, runtime: tiny_clipseg.clipseg())


@pytest.mark.parametrize("side", [32, 48])
@pytest.mark.parametrize("fine", [True, False])
def test_one_look_answers_as_the_stock_forward_pass_for_each_text(side: int, fine: bool) -> None:
    stock = tiny_clipseg.model(fine)
    pixels = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = stock(
            input_ids=tokenize(TEXTS), pixel_values=pixels.expand(len(TEXTS), -1, -1, -1)
        ).logits
    model = CLIPSeg(tiny_clipseg.model(fine), (), Runtime())
    found = model.find(model.see(pixels), model.read(TEXTS))
    assert found.shape == (len(TEXTS), side, side)
    assert expected.std() > 0.01
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def plain_labels(method: CLIPSegMethod, template: str) -> np.ndarray[Any, Any]:
    """The rule written out, query by query and pixel by pixel, by the stock forward pass."""
    settings, stock = method.settings, tiny_clipseg.model()
    pixels = method._input(IMAGE)
    size = IMAGE.shape[:2]
    maps = []
    for text, label in SOME.queries:
        with torch.inference_mode():
            logits = stock(input_ids=tokenize([template.format(text)]), pixel_values=pixels).logits
        likely = functional.interpolate(logits.sigmoid()[None], size, mode="bilinear")[0, 0]
        maps.append((label, likely.numpy()))
    labels = np.zeros(size, int)
    for y, x in np.ndindex(*size):
        best = settings.background_below if settings.background_rule == "threshold" else -1.0
        for label, likely in maps:
            if label == 0 and settings.background_rule == "threshold":
                continue
            score = likely[y, x] * (settings.background_factor if label == 0 else 1)
            if score > best:
                best, labels[y, x] = score, label
    return labels


@pytest.mark.parametrize(
    ("settings", "template"),
    [
        ({"background_factor": 1.02}, "{}"),
        ({"prompt": "single", "texts_at_a_time": 2, "background_factor": 0.0}, "a photo of a {}."),
        ({"background_rule": "threshold", "background_below": 0.5}, "{}"),
    ],
)
@pytest.mark.usefixtures("tiny")
def test_labels_are_those_of_the_rule_written_out(settings: dict[str, Any], template: str) -> None:
    method = CLIPSegMethod(CLIPSegSettings(side=48, **settings), Runtime())
    method.prepare(SOME)
    (labels,) = method.segment([IMAGE])
    expected = plain_labels(method, template)
    assert len(np.unique(expected)) > 1
    assert (labels == expected).mean() > 0.999  # but for scores that are equal up to rounding


@pytest.mark.usefixtures("tiny")
def test_the_picture_is_seen_once_and_texts_are_read_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    method = CLIPSegMethod(CLIPSegSettings(side=32, texts_at_a_time=1), Runtime())
    method.prepare(SOME)
    seen, see = [], method._model.see
    monkeypatch.setattr(method._model, "see", lambda pixels: seen.append(1) or see(pixels))
    monkeypatch.setattr(method._model, "read", None)
    method.segment([IMAGE, IMAGE])
    assert seen == [1, 1]


@pytest.mark.usefixtures("tiny")
def test_contract() -> None:
    rng = np.random.default_rng(1)
    images = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(3)]
    vocabularies = (SOME, Vocabulary.of("sea", "sky"))
    settings = {"side": 32, "background_rule": "threshold", "background_below": 0.5}
    outcomes = conformance_checks(
        lambda: load_method("clipseg", settings=settings, device="cpu"), vocabularies, images
    )
    assert [(o.name, o.finding) for o in outcomes if not o.passed] == []


def test_a_folder_is_loaded_whole_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stock = tiny_clipseg.model()
    stock.save_pretrained(tmp_path)
    records = (CheckpointRecord("clipseg", "tiny", None, None),)
    monkeypatch.setattr(module, "locate", lambda *_: Located(tmp_path, records))
    loaded = module.load_clipseg("clipseg_rd64_refined", Runtime())
    assert loaded.checkpoints == records
    expected = CLIPSeg(stock, (), Runtime()).read(TEXTS)
    torch.testing.assert_close(loaded.read(TEXTS), expected, atol=0, rtol=0)
    stock.clip.save_pretrained(tmp_path)
    with pytest.raises(UsageError, match=r"has no weights for decoder\."):
        module.load_clipseg("clipseg_rd64_refined", Runtime())


@pytest.mark.usefixtures("tiny")
def test_wrong_settings() -> None:
    with pytest.raises(UsageError, match="side=40 must be a multiple of 16"):
        load_method("clipseg", settings={"side": 40}, device="cpu")
    for wrong in ({"texts_at_a_time": 0}, {"background_factor": -1.0}):
        with pytest.raises(ValueError, match="must"):
            CLIPSegSettings(**wrong)  # type: ignore[arg-type]
