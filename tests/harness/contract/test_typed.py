"""Values of Python callers against the types of their fields."""

from __future__ import annotations

from typing import Any

import pytest

from ovbench.errors import UsageError
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
