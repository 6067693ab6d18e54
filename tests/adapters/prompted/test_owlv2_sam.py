"""OWLv2 and SAM: a tiny model of each stock class, and the rule written out in loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tiny_detectors
import torch
from open_clip import tokenize
from transformers import Owlv2ImageProcessor

from ovbench.adapters.prompted import owlv2_sam as adapter
from ovbench.adapters.prompted.owlv2_sam import OWLv2Sam, OWLv2SamSettings
from ovbench.adapters.prompted.painting import surest
from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.vocabulary import Background, ClassQuery, Vocabulary
from ovbench.harness.registry.methods import load_method
from ovbench.harness.run.conformance import conformance_checks

CLASSES = (ClassQuery("cat"), ClassQuery("dog", ("puppy",)), ClassQuery("road"))
SOME = Vocabulary(CLASSES, Background())
IMAGE = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "load_owlv2", lambda name, runtime: tiny_detectors.owlv2())
    monkeypatch.setattr(adapter, "load_promptable", lambda name, runtime: tiny_detectors.sam())


def stock_answer(image: Any, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Boxes in pixels and logits, by the stock forward pass on a picture filled up by hand."""
    side = max(image.shape[:2])
    square = np.full((side, side, 3), 128, np.uint8)
    square[: image.shape[0], : image.shape[1]] = image
    process = Owlv2ImageProcessor(size={"height": 512, "width": 512})
    ids = tokenize(texts, 16)
    with torch.inference_mode():
        out = tiny_detectors.owlv2_model()(
            input_ids=ids, pixel_values=process(images=[square], return_tensors="pt").pixel_values
        )
    x, y, w, h = (out.pred_boxes[0] * side).unbind(-1)
    places = torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], dim=-1)
    places[:, 0::2] = places[:, 0::2].clamp(0, image.shape[1])
    places[:, 1::2] = places[:, 1::2].clamp(0, image.shape[0])
    return places, out.logits[0]


@pytest.mark.parametrize("size", [(40, 56), (90, 30)])
def test_one_look_answers_as_the_stock_forward_pass(size: tuple[int, int]) -> None:
    image = np.random.default_rng(2).integers(0, 256, (*size, 3), np.uint8)
    model = tiny_detectors.owlv2()
    found = model.find(model.see(image), model.embed_queries(["cat", "dog"], ("a {}",)))
    places, logits = stock_answer(image, ["a cat", "a dog"])
    torch.testing.assert_close(found.places, places, atol=1e-4, rtol=0)
    torch.testing.assert_close(found.logits, logits, atol=1e-5, rtol=0)
    assert logits.std() > 0.01


@pytest.mark.parametrize("settings", [{}, {"most_boxes": 3}, {"box_above": 0.5}, {"box_above": 1}])
@pytest.mark.parametrize("background", [True, False])
@pytest.mark.usefixtures("tiny")
def test_labels_are_those_of_the_rule_written_out(
    settings: dict[str, Any], background: bool
) -> None:
    vocabulary = SOME if background else Vocabulary(CLASSES)
    method = OWLv2Sam(OWLv2SamSettings(prompts="bare", **settings), Runtime())
    method.prepare(vocabulary)
    (labels,) = method.segment([IMAGE])

    names = [(text, label) for text, label in vocabulary.queries if text != "background"]
    places, logits = stock_answer(IMAGE, [text for text, _ in names])
    boxes = []
    for place, row in zip(places.numpy(), logits.sigmoid().tolist(), strict=True):
        boxes.append((max(row), names[row.index(max(row))][1], place))
    boxes.sort(key=lambda box: box[0])
    expected = np.full(IMAGE.shape[:2], 0 if background else boxes[-1][1])
    sam = tiny_detectors.sam()
    encoded = sam.encode(IMAGE)
    drawn = [box for box in boxes if box[0] > method.settings.box_above]
    for _, label, place in drawn[-method.settings.most_boxes :]:
        expected[sam.predict(encoded, box=place, multimask=False).masks[0]] = label
    assert (labels == expected).mean() > 0.995  # but for borders, which round otherwise
    if settings == {"box_above": 1}:
        assert len(np.unique(labels)) == 1


def test_boxes_are_drawn_in_ascending_order_and_no_more_than_are_asked_for() -> None:
    scores = torch.tensor([0.5, 0.1, 0.9, 0.3])
    assert surest(scores, 0.1, 9).tolist() == [3, 0, 2]
    assert surest(scores, 0.1, 2).tolist() == [0, 2]
    assert surest(scores, 0.9, 9).tolist() == []


@pytest.mark.usefixtures("tiny")
def test_contract() -> None:
    rng = np.random.default_rng(1)
    images = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(3)]
    outcomes = conformance_checks(
        lambda: load_method("owlv2_sam", settings={"most_boxes": 3}, device="cpu"),
        (SOME, Vocabulary.of("sea", "sky")),
        images,
    )
    assert [(o.name, o.finding) for o in outcomes if not o.passed] == []


def test_there_is_no_miniature() -> None:
    with pytest.raises(UsageError, match="no miniature of owlv2; ask for the real weights"):
        load_method("owlv2_sam", checkpoints="toy", device="cpu")
    with pytest.raises(ValueError, match="most_boxes must be positive"):
        OWLv2SamSettings(most_boxes=0)
