"""Grounding DINO and SAM: a tiny model of each stock class, and the rule written out in loops."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import tiny_detectors
import tiny_sam2
import torch
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st

from ovbench.adapters.prompted import grounded_sam as adapter
from ovbench.adapters.prompted.grounded_sam import GroundedSam, GroundedSamSettings
from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import override
from ovbench.harness.contract.vocabulary import Background, ClassQuery, Vocabulary
from ovbench.harness.registry.methods import load_method
from ovbench.harness.run.conformance import conformance_checks
from ovbench.models.pixels.inputs import IMAGENET_MEAN, IMAGENET_STD, input_tensor
from ovbench.models.prompted.grounding_dino import STOP, arbitrary_words, captions
from ovbench.models.sam.promptable import PromptableSegmenter

CLASSES = (ClassQuery("cat"), ClassQuery("traffic light", ("lamp",)), ClassQuery("wet road"))
SOME = Vocabulary(CLASSES, Background())
IMAGE = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)
SMALL: dict[str, Any] = {"short_side": 64, "max_long_side": 96}


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "load_grounding_dino", lambda *_: tiny_detectors.dino())
    monkeypatch.setattr(adapter, "load_promptable", lambda name, runtime: tiny_detectors.sam())


@given(st.lists(st.lists(st.integers(2000, 2009), max_size=12), max_size=9), st.integers(6, 20))
@settings_of_hypothesis(max_examples=60, deadline=None)
def test_captions_hold_every_phrase_once_and_in_order(
    phrases: list[list[int]], longest: int
) -> None:
    made = captions(phrases, longest)
    assert [index for one in made for index in one.phrases] == list(range(len(phrases)))
    for caption in made:
        assert len(caption.ids) <= longest
        assert (caption.ids[0], caption.ids[-1]) == (101, 102)
        for index, (first, last) in zip(caption.phrases, caption.spans, strict=True):
            assert list(caption.ids[first:last]) == phrases[index][: longest - 3]
            assert caption.ids[last] == STOP
        assert len(caption.ids) == 2 + sum(last - first + 1 for first, last in caption.spans)
    for one, after in pairwise(made):  # none is left when there was room for it
        first, last = after.spans[0]
        assert len(one.ids) + last - first + 1 > longest


@pytest.mark.parametrize(
    "settings", [{"box_above": 0.5}, {"box_above": 0.5, "most_boxes": 3}, {"box_above": 1}]
)
@pytest.mark.parametrize("longest", [256, 6])  # all in one caption, and one caption for each
@pytest.mark.parametrize("load_sam", [tiny_detectors.sam, tiny_sam2.sam2])
@pytest.mark.usefixtures("tiny")
def test_labels_are_those_of_the_rule_written_out(
    settings: dict[str, Any], longest: int, load_sam: Callable[[], PromptableSegmenter],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(adapter, "load_promptable", lambda *_: load_sam())
    method = GroundedSam(GroundedSamSettings(**SMALL, **settings), Runtime())
    method._detector._model.config.max_text_len = longest
    for head in method._detector._model.modules():
        if hasattr(head, "max_text_len"):
            head.max_text_len = longest
    method.prepare(SOME)
    (labels,) = method.segment([IMAGE])

    stock = tiny_detectors.dino_model()
    pixels = input_tensor(
        IMAGE, (64, 90), mean=IMAGENET_MEAN, std=IMAGENET_STD, mode="bilinear",
        device=torch.device("cpu"), whole_numbers=True,
    )[None]  # fmt: skip
    names = [(arbitrary_words(text), label) for text, label in SOME.queries if label]
    groups = [names] if longest == 256 else [[name] for name in names]
    boxes = []
    for group in groups:
        ids, owner = [101], [-1]
        for tokens, label in group:
            ids += [*tokens, STOP]
            owner += [label] * len(tokens) + [-1]
        with torch.inference_mode():
            out = stock(pixel_values=pixels, input_ids=torch.tensor([[*ids, 102]]))
        for row, (x, y, w, h) in zip(
            out.logits[0].sigmoid().tolist(), out.pred_boxes[0].tolist(), strict=True
        ):
            score, label = max(
                ((s, o) for s, o in zip(row, owner, strict=False) if o > 0), key=lambda one: one[0]
            )
            place = np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2]) * [56, 40, 56, 40]
            boxes.append((score, label, np.clip(place, 0, [56, 40, 56, 40])))
    boxes.sort(key=lambda box: box[0])
    expected = np.zeros(IMAGE.shape[:2], int)
    sam = load_sam()
    encoded = sam.encode(IMAGE)
    drawn = [box for box in boxes if box[0] > settings["box_above"]]
    for _, label, place in drawn[-method.settings.most_boxes :]:
        expected[sam.predict(encoded, box=place, multimask=False).masks[0]] = label
    assert (labels == expected).mean() > 0.99  # but for borders, which round otherwise
    assert bool(drawn) == (settings["box_above"] < 1)


def test_grounded_sam_2_is_a_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def load(name: str, _: Runtime) -> PromptableSegmenter:
        asked.append(name)
        return tiny_sam2.sam2()

    monkeypatch.setattr(adapter, "load_grounding_dino", lambda *_: tiny_detectors.dino())
    monkeypatch.setattr(adapter, "load_promptable", load)
    settings = override(GroundedSamSettings, GroundedSam.presets["grounded_sam_2"])
    method = GroundedSam(settings, Runtime())
    assert asked == ["sam2.1_hiera_large"]
    assert method.settings.box_above == 0.35
    method.prepare(SOME)
    assert method.segment([IMAGE])[0].shape == IMAGE.shape[:2]


@pytest.mark.usefixtures("tiny")
def test_the_backbone_sees_a_picture_once() -> None:
    method = GroundedSam(GroundedSamSettings(**SMALL), Runtime())
    method.prepare(SOME)
    seen: list[int] = []
    once = method._detector._model.model.backbone
    once._backbone.register_forward_hook(lambda *_: seen.append(1))
    method._captions = method._detector.read(["cat"]) + method._detector.read(["dog"])
    method.segment([IMAGE, IMAGE])
    assert seen == [1, 1]


@pytest.mark.usefixtures("tiny")
def test_contract() -> None:
    rng = np.random.default_rng(1)
    images = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(3)]
    outcomes = conformance_checks(
        lambda: load_method("grounded_sam", settings={**SMALL, "most_boxes": 3}, device="cpu"),
        (SOME, Vocabulary.of("sea", "sky")),
        images,
    )
    assert [(o.name, o.finding) for o in outcomes if not o.passed] == []


def test_wrong_input() -> None:
    with pytest.raises(UsageError, match="no miniature of grounding_dino; ask for the real"):
        load_method("grounded_sam", checkpoints="toy", device="cpu")
    with pytest.raises(ValueError, match="short_side must be at least 32"):
        GroundedSamSettings(short_side=8)
