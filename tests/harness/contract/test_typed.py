"""Values of Python callers against the types of their fields."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ovbench
from ovbench.errors import OvbenchError, UsageError
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.run import runner
from ovbench.harness.tune import search


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (runner.Options, {"limit": "5"}, "Options(limit='5'): expected int or none"),
        (runner.Options, {"limit": 1.5}, "Options(limit=1.5): expected int or none"),
        (runner.Options, {"batch_size": None}, "Options(batch_size=None): expected int"),
        (runner.Options, {"batch_size": True}, "Options(batch_size=True): expected int"),
        (runner.Options, {"batch_size": 0}, "batch-size 0: must be at least 1"),
        (runner.Options, {"workers": "all"}, "Options(workers='all'): expected int or none"),
        (
            runner.Options,
            {"classes": "some"},
            "Options(classes='some'): expected all or oracle or predicted",
        ),
        (
            runner.Options,
            {"unanswered": "guess"},
            "Options(unanswered='guess'): expected error or miss or ignore or none",
        ),
        (runner.Options, {"skip_bad": "no"}, "Options(skip_bad='no'): expected bool"),
        (runner.Options, {"save_predictions": 1}, "Options(save_predictions=1): expected bool"),
        (runner.Options, {"fresh": "yes"}, "Options(fresh='yes'): expected bool"),
        (runner.Options, {"command": 3}, "Options(command=3): expected str"),
        (search.Options, {"trials": "many"}, "Options(trials='many'): expected int or none"),
        (search.Options, {"limit": 0}, "limit 0: must be at least 1"),
        (Runtime, {"precision": "fp8"}, "Runtime(precision='fp8'): expected fp32 or bf16 or fp16"),
        (Runtime, {"checkpoints": 1}, "Runtime(checkpoints=1): expected toy or real"),
        (Runtime, {"device": None}, "Runtime(device=None): expected str"),
        (Runtime, {"seed": 0.5}, "seed 0.5: must be a whole number from 0 to 4294967295"),
    ],
)
def test_a_value_of_another_type_is_one_line(
    kind: Any, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        kind(**values)
    assert str(caught.value) == message


def test_values_of_their_types_are_taken() -> None:
    runner.Options("oracle", None, 4, True, False, 2, "miss", True, "typed")
    search.Options(None, None)
    Runtime("cuda:1", "bf16", "toy", 7)


class Blind:
    def prepare(self, vocabulary: ovbench.Vocabulary) -> None:
        """Nothing to prepare."""

    def segment(self, images: Any) -> list[Any]:
        return [np.zeros(image.shape[:2], np.uint8) for image in images]


TOY = ovbench.load_dataset("toyworld")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: ovbench.evaluate(Blind, TOY),
            "expected Method or Segmenter; that is a class: give what Blind(...) makes",
        ),
        (
            lambda: ovbench.evaluate("maskclip", TOY),
            "evaluate(method='maskclip'): expected Method or Segmenter; load_method('maskclip') "
            "gives it",
        ),
        (
            lambda: ovbench.evaluate(3, TOY),
            "evaluate(method=3): expected Method or Segmenter; it has no prepare, segment",
        ),
        (
            lambda: ovbench.evaluate(Blind(), "toyworld"),
            "evaluate(dataset='toyworld'): expected Dataset; load_dataset('toyworld') gives it",
        ),
        (
            lambda: ovbench.evaluate(Blind(), [1]),
            "evaluate(dataset=[1]): expected Dataset; it has no info, vocabulary, ids, load",
        ),
        (
            lambda: ovbench.evaluate(Blind(), TOY, output=3),
            "evaluate(output=3): expected Path or str or none",
        ),
        (
            lambda: ovbench.evaluate(Blind(), TOY, options={"limit": 3}),
            "evaluate(options={'limit': 3}): expected Options or none; "
            "write Options(name=value, ...)",
        ),
        (
            lambda: ovbench.evaluate(Blind(), TOY, class_filter="clip"),
            "evaluate(class_filter='clip'): expected Filter or ClassFilter or none; "
            "load_filter('clip') gives it",
        ),
        (
            lambda: ovbench.evaluate(Blind(), TOY, observer=print),
            "expected Observer or none; it has no started, recorded",
        ),
        (lambda: ovbench.load_method(None), "load_method(name=None): expected str"),
        (
            lambda: ovbench.load_method("maskclip", settings=["a=1"]),
            "load_method(settings=['a=1']): expected Mapping or none",
        ),
        (
            lambda: ovbench.load_method("maskclip", precision="fp8"),
            "load_method(precision='fp8'): expected fp32 or bf16 or fp16",
        ),
        (
            lambda: ovbench.load_method("maskclip", device=0),
            "load_method(device=0): expected str",
        ),
        (lambda: ovbench.load_dataset(3), "load_dataset(name=3): expected str"),
        (
            lambda: ovbench.load_dataset("voc", background="black"),
            "load_dataset(background='black'): expected class or ignore or none or none",
        ),
        (
            lambda: ovbench.load_dataset("voc", root=3),
            "load_dataset(root=3): expected Path or str or none",
        ),
        (
            lambda: ovbench.load_filter("clip", runtime="cpu"),
            "load_filter(runtime='cpu'): expected Runtime or none",
        ),
        (
            lambda: ovbench.Vocabulary(["cat", "dog"]),
            "Vocabulary(classes=['cat', 'dog']): expected ClassQuery,...",
        ),
        (
            lambda: ovbench.ClassQuery("cat", "kitten"),
            "ClassQuery(synonyms='kitten'): expected str,...",
        ),
        (lambda: ovbench.Vocabulary.of("cat", 3), "ClassQuery(name=3): expected str"),
        (lambda: ovbench.Background("sky"), "Background(queries='sky'): expected str,..."),
        (
            lambda: ovbench.Exemplar([[0, 0, 0]]),
            "Exemplar(image=[[0, 0, 0]]): expected ndarray",
        ),
    ],
)
def test_an_argument_of_another_kind_is_one_line(call: Callable[[], object], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        call()
    assert str(caught.value).endswith(message)
    assert "\n" not in str(caught.value)


def test_what_is_asked_for_is_taken_in_any_shape_that_answers() -> None:
    class Watching:
        seen = 0

        def started(self, remaining: int, total: int) -> None:
            """Nothing to show."""

        def recorded(self, image: str, confusion: object) -> None:
            self.seen += 1

    watching = Watching()
    ovbench.evaluate(Blind(), TOY, options=ovbench.Options(limit=2), observer=watching)
    assert watching.seen == 2
    assert ovbench.Vocabulary([ovbench.ClassQuery("cat", ["kitten"])]).queries[1] == ("kitten", 0)


@pytest.mark.parametrize("code", [0, None, 3, "stopped here"])
def test_code_that_ends_the_program_raises_instead(code: Any) -> None:
    class Leaving(Blind):
        def segment(self, images: Any) -> list[Any]:
            sys.exit(code)

    with pytest.raises(OvbenchError) as caught:
        ovbench.evaluate(Leaving(), TOY, options=ovbench.Options(limit=2))
    assert __file__ in str(caught.value)
    assert "(segment) ends the program by SystemExit(" in str(caught.value)
