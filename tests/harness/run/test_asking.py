"""Methods as their authors write them: what they may take, and what they may answer with."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from ovbench.errors import ContractError, UsageError
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.harness.registry.methods import Method
from ovbench.harness.run.asking import ask, takes_candidates
from ovbench.harness.run.conformance import conformance_checks
from ovbench.harness.run.runner import Options, evaluate

IMAGES = [np.zeros((4, 6, 3), np.uint8), np.zeros((5, 3, 3), np.uint8)]


class Answers:
    """Takes images only, and answers with label 1 in a shape of its author's choice."""

    def __init__(self, shape: Callable[[Any], Any]) -> None:
        self.shape = shape

    def prepare(self, vocabulary: Vocabulary) -> None:
        pass

    def segment(self, images: Any) -> Any:
        maps = [np.ones(image.shape[:2], np.uint8) for image in images]
        return [self.shape(one) for one in maps]


SHAPES: dict[str, Callable[[Any], Any]] = {
    **{
        f"torch {dtype}": lambda one, dtype=dtype: torch.from_numpy(one).to(dtype)
        for dtype in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
    },
    **{
        f"numpy {dtype}": lambda one, dtype=dtype: one.astype(dtype)
        for dtype in ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", ">i4")
    },
    "list": lambda one: one.tolist(),
    "tuple of rows": tuple,
}


@pytest.mark.parametrize("name", SHAPES)
def test_any_whole_numbers_are_an_answer(name: str) -> None:
    first, second = ask(Answers(SHAPES[name]), IMAGES)
    for labels, image in ((first, IMAGES[0]), (second, IMAGES[1])):
        assert labels.dtype.kind == "u"
        assert labels.shape == image.shape[:2]
        assert (labels == 1).all()


def test_a_batch_in_one_tensor_is_its_maps() -> None:
    class Stacked(Answers):
        def segment(self, images: Any) -> Any:
            return torch.stack([torch.ones(4, 6, dtype=torch.int64) for _ in images])

    assert [one.shape for one in ask(Stacked(lambda one: one), IMAGES[:1] * 3)] == [(4, 6)] * 3


def test_wide_labels_keep_their_values() -> None:
    (labels,) = ask(Answers(lambda one: one.astype(np.int64) * 70_000), IMAGES[:1])
    assert labels.dtype == np.uint32
    assert (labels == 70_000).all()


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (lambda one: None, "a label map is None; labels are integers"),
        (lambda one: one.astype(bool), "a label map is bool; labels are integers"),
        (lambda one: one.astype(np.float32), "a label map is float32; labels are integers"),
        (lambda one: torch.ones(2, 2, dtype=torch.bfloat16), "of type Tensor; labels are integers"),
        (lambda one: [[1, 2], [1]], "a label map is of type list; labels are integers"),
        (lambda one: "cat", "a label map is <U3; labels are integers"),
        (lambda one: -one.astype(np.int64), "a label map holds the label -1; labels are 0 and up"),
    ],
)
def test_no_answer_is_one_line(shape: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(ContractError, match=f"^image a: .*{message}"):
        ask(Answers(shape), IMAGES, ids=["a", "b"])


def test_nothing_at_all_is_one_line(memory_dataset: Any) -> None:
    class Nothing(Answers):
        def segment(self, images: Any) -> Any:
            return None

    with pytest.raises(ContractError, match="segment returned None; one label map per image is"):
        evaluate(Nothing(lambda one: one), memory_dataset())


def test_images_only_will_do_for_all_classes(memory_dataset: Any) -> None:
    """As the README promises of any object with ``prepare(vocabulary)`` and ``segment(images)``."""
    result = evaluate(Answers(torch.from_numpy), memory_dataset())
    assert result is not None
    assert result["per_class"][1]["accuracy"] == 100.0
    told = Options(classes="oracle")
    with pytest.raises(UsageError, match="segment of Answers takes images only"):
        evaluate(Answers(torch.from_numpy), memory_dataset(), options=told)
    with pytest.raises(ContractError, match="takes images only"):
        ask(Answers(torch.from_numpy), IMAGES, [(1,), (1,)])


def test_the_kit_asks_it_the_same_way() -> None:
    pair = Vocabulary.of("cat", "dog", background=True), Vocabulary.of("sea", "sky")
    images = [np.zeros((20, 30, 3), np.uint8)] * 2
    outcomes = conformance_checks(lambda: Method.of(Answers(torch.from_numpy)), pair, images)
    found = {one.name: one for one in outcomes}
    assert [name for name, one in found.items() if not one.passed] == []
    assert "takes images only" in found["stays within the candidates"].finding


def test_whether_candidates_are_taken_is_known_of_every_kind_of_callable() -> None:
    class Plain:
        def prepare(self, vocabulary: Vocabulary) -> None:
            pass

        def segment(self, images: Any, candidates: Any = None) -> Any:
            return images

    given: Any = Plain()
    assert takes_candidates(given)
    assert takes_candidates(given)
    given.segment = lambda images: images  # of the object alone
    assert not takes_candidates(given)
    given.segment = Plain().segment
    assert takes_candidates(given)
    given.segment = partial(Plain().segment, candidates=None)
    assert not takes_candidates(given)
    assert not takes_candidates(Answers(list))
