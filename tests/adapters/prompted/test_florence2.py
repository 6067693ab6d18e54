"""Florence-2 as a network and as a method: tiny models of stock classes, the rule in loops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_detectors
import tiny_florence2
import torch
from PIL import Image, ImageDraw

from ovbench.adapters.prompted import florence2 as adapter
from ovbench.adapters.prompted.florence2 import Florence2Method, Florence2Settings
from ovbench.errors import UsageError
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.harness.contract.vocabulary import Background, ClassQuery, Vocabulary
from ovbench.harness.registry.methods import load_method
from ovbench.harness.run.conformance import conformance_checks
from ovbench.models.prompted import florence2 as module
from ovbench.models.prompted.florence2 import Task
from ovbench.models.weights.checkpoints import Located

CLASSES = (ClassQuery("cat"), ClassQuery("dog", ("puppy",)), ClassQuery("road"))
IMAGE = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)
OUTLINES: Task = "<REFERRING_EXPRESSION_SEGMENTATION>"
BOXES: Task = "<OPEN_VOCABULARY_DETECTION>"
SHORT: dict[str, Any] = {"most_tokens": 20}


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "load_florence2", lambda name, runtime: tiny_florence2.florence2())
    monkeypatch.setattr(adapter, "load_promptable", lambda name, runtime: tiny_detectors.sam())


def stock_answers(task: Task, phrases: list[str], beams: int = 3) -> list[dict[str, Any]]:
    """By transformers alone, as its documentation has it, every phrase with the picture."""
    processor, model = tiny_florence2.processor(), tiny_florence2.model()
    answers = []
    for phrase in phrases:
        inputs = processor(text=task + phrase, images=Image.fromarray(IMAGE), return_tensors="pt")
        with torch.inference_mode():
            written = model.generate(**inputs, max_new_tokens=20, num_beams=beams, do_sample=False)
        said = processor.post_process_generation(
            sequence=written[0], task=task, image_size=(56, 40)
        )
        answers.append(said[task])
    return answers


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("task", [OUTLINES, BOXES])
def test_one_look_answers_as_the_stock_model_for_each_phrase(task: Task, beams: int) -> None:
    model, phrases = tiny_florence2.florence2(), ["cat", "puppy dog road", "dog"]
    picture = model.see(IMAGE)
    found = model.ask(picture, task, phrases, (40, 56), beams=beams, most_tokens=20)
    assert any(places.polygons or len(places.boxes) for places in found)
    for places, expected in zip(found, stock_answers(task, phrases, beams), strict=True):
        flat = [p for instance in expected["polygons"] for p in instance if len(p) >= 6]
        assert [polygon.ravel().tolist() for polygon in places.polygons] == flat
        assert places.boxes.tolist() == expected.get("bboxes", [])


@pytest.mark.parametrize("background", [Background(), None])
@pytest.mark.usefixtures("tiny")
def test_outlines_are_painted_smaller_over_larger(background: Background | None) -> None:
    vocabulary = Vocabulary(CLASSES, background)
    method = Florence2Method(Florence2Settings(texts_at_a_time=3, **SHORT), Runtime())
    method.prepare(vocabulary)
    (labels,) = method.segment([IMAGE])
    masks = []
    queries = [(text, label) for text, label in vocabulary.queries if label >= vocabulary.offset]
    for (_, label), said in zip(
        queries, stock_answers(OUTLINES, [text for text, _ in queries]), strict=True
    ):
        canvas = Image.new("L", (56, 40))
        for instance in said["polygons"]:
            for polygon in instance:
                if len(polygon) >= 6:
                    ImageDraw.Draw(canvas).polygon(polygon, fill=1)
        masks.append((np.array(canvas) > 0, label))
    masks.sort(key=lambda one: -int(one[0].sum()))
    expected = np.full((40, 56), 0 if background else masks[0][1])
    for mask, label in masks:
        expected[mask] = label
    assert len(np.unique(expected)) > 2
    assert (labels == expected).all()


@pytest.mark.usefixtures("tiny")
def test_boxes_are_drawn_smaller_over_larger() -> None:
    vocabulary = Vocabulary(CLASSES, Background())
    method = Florence2Method(Florence2Settings(answer="boxes", **SHORT), Runtime())
    method.prepare(vocabulary)
    (labels,) = method.segment([IMAGE])
    queries = vocabulary.queries[-4:]
    boxes = [
        ((right - left) * (below - top), (left, top, right, below), label)
        for (_, label), said in zip(
            queries, stock_answers(BOXES, [text for text, _ in queries]), strict=True
        )
        for left, top, right, below in said.get("bboxes", [])
        if right > left and below > top
    ]
    expected = np.zeros((40, 56), int)
    sam = tiny_detectors.sam()
    encoded = sam.encode(IMAGE)
    for _, box, label in sorted(boxes, key=lambda one: -one[0]):
        mask = sam.predict(encoded, box=np.array(box, float), multimask=False).masks[0]
        expected[mask] = label
    assert len(np.unique(expected)) > 1
    assert (labels == expected).mean() > 0.995  # but for logits that are zero up to rounding


@pytest.mark.usefixtures("tiny")
def test_the_picture_is_seen_once_and_only_candidates_are_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    method = Florence2Method(Florence2Settings(texts_at_a_time=1, **SHORT), Runtime())
    method.prepare(Vocabulary(CLASSES))
    seen, asked = [], []
    see, ask = method._model.see, method._model.ask
    monkeypatch.setattr(method._model, "see", lambda image: seen.append(1) or see(image))
    monkeypatch.setattr(
        method._model, "ask", lambda *args, **how: asked.append(args[2]) or ask(*args, **how)
    )
    (labels,) = method.segment([IMAGE], [[1]])
    assert seen == [1]
    assert asked == [["dog"], ["puppy"]]
    assert (labels == 1).all()


@pytest.mark.usefixtures("tiny")
def test_what_is_not_found_has_the_first_label(monkeypatch: pytest.MonkeyPatch) -> None:
    for answer in ("polygons", "boxes"):
        method = Florence2Method(Florence2Settings(answer=answer, most_tokens=1), Runtime())
        method.prepare(Vocabulary(CLASSES))
        (labels,) = method.segment([IMAGE], [[1, 2]])
        assert (labels == 1).all()


@pytest.mark.parametrize("answer", ["polygons", "boxes"])
@pytest.mark.usefixtures("tiny")
def test_contract(answer: str) -> None:
    rng = np.random.default_rng(1)
    images = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(3)]
    vocabularies = (Vocabulary(CLASSES, Background()), Vocabulary.of("cat", "road"))
    settings = {"answer": answer, "most_tokens": 12}
    outcomes = conformance_checks(
        lambda: load_method("florence2", settings=settings, device="cpu"), vocabularies, images
    )
    assert [(o.name, o.finding) for o in outcomes if not o.passed] == []


def test_a_folder_is_loaded_whole_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stock = tiny_florence2.model()
    stock.save_pretrained(tmp_path)
    processor = tiny_florence2.processor()
    processor.save_pretrained(tmp_path)
    records = (CheckpointRecord("florence2", "tiny", None, None),)
    monkeypatch.setattr(module, "locate", lambda *_: Located(tmp_path, records))
    loaded, made = module.load_florence2("florence2_large", Runtime()), tiny_florence2.florence2()
    assert loaded.checkpoints == records
    how: dict[str, Any] = {"beams": 2, "most_tokens": 12}
    one, other = (
        model.ask(model.see(IMAGE), BOXES, ["cat", "dog"], (40, 56), **how)
        for model in (loaded, made)
    )
    assert sum(len(places.boxes) for places in other)
    assert [p.boxes.tolist() for p in one] == [p.boxes.tolist() for p in other]
    stock.model.language_model.save_pretrained(tmp_path)
    with pytest.raises(UsageError, match="has no weights for"):
        module.load_florence2("florence2_large", Runtime())
    processor.post_processor_config = None
    processor.save_pretrained(tmp_path)
    with pytest.raises(UsageError, match="does not say how answers are read"):
        module.load_florence2("florence2_large", Runtime())


def test_there_is_no_miniature() -> None:
    with pytest.raises(UsageError, match="no miniature"):
        load_method("florence2", checkpoints="toy", device="cpu")
