from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ovbench.harness.registry.methods import load_method
from ovbench.harness.results.parameters import count_parameters
from ovbench.harness.run.runner import evaluate


@dataclass(slots=True)
class Slotted:
    inner: object


class Holder:
    def __init__(self, **held: object) -> None:
        self.__dict__.update(held)

    def call(self) -> None: ...


def test_modules_are_found_wherever_they_are_kept() -> None:
    layer = nn.Linear(3, 4)  # 16
    for holder in (
        layer,
        Holder(a=layer),
        Holder(a=[1, (layer,)]),
        Holder(a={"x": layer}),
        Slotted(Holder(a=layer)),
        Holder(a=Holder(b=layer).call),
        Holder(a=partial(print, model=layer)),
    ):
        assert count_parameters(holder) == 16


def test_each_parameter_counts_once() -> None:
    layer = nn.Linear(3, 4)
    tied = nn.Sequential(layer, nn.Linear(4, 2))
    circle = Holder(a=layer, b=tied, c=[layer, torch.ones(1000)])
    circle.circle = circle
    assert count_parameters(circle) == 16 + 10
    assert count_parameters(Holder(norm=nn.BatchNorm1d(5))) == 10  # its running means are buffers


def test_a_methods_networks() -> None:
    method = load_method("maskclip", checkpoints="toy", device="cpu")
    assert 0.9e6 < count_parameters(method.segmenter) < 1.0e6
    assert count_parameters(load_method("constant", device="cpu").segmenter) == 0


def test_without_torch_there_is_nothing_to_count() -> None:
    program = (
        "import sys; from ovbench.harness.results.parameters import count_parameters\n"
        "assert count_parameters([1]) == 0 and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_result_says_how_many(memory_dataset: Any, thresholds: Any, tmp_path: Path) -> None:
    thresholds.network = nn.Linear(3, 4)
    result = evaluate(thresholds, memory_dataset(), output=tmp_path)
    assert result is not None
    assert result["profile"]["parameters"] == 16
