"""Where memory does not suffice for a batch, its halves are asked for, and the result says so."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from watchers import Watcher

from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.harness.run.portions import Portions
from ovbench.harness.run.runner import Options, evaluate

ERRORS = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: can't allocate"),
)


class Fits:
    """Takes so many images at once, and draws from a global generator."""

    def __init__(self, most: int, error: BaseException = ERRORS[0]) -> None:
        self.most, self.error, self.asked = most, error, list[int]()

    def prepare(self, vocabulary: Vocabulary) -> None:
        self.labels = len(vocabulary)

    def segment(self, images: Any, candidates: Any = None) -> Any:
        self.asked.append(len(images))
        first = np.random.randint(self.labels)
        if len(images) > self.most:
            raise self.error
        return [(image[..., 0] + first) % self.labels for image in images]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_batch_that_does_not_fit_is_halved_until_it_does(
    error: BaseException, tmp_path: Path, memory_dataset: Any, watcher: Watcher
) -> None:
    method = Fits(2, error)
    options = Options(batch_size=8, save_predictions=True)
    result = evaluate(method, memory_dataset(), output=tmp_path, options=options)
    assert method.asked == [8, 4, 2, 2, 2, 2, 2, 2]
    assert result is not None
    assert result["run"]["complete"]
    assert (
        "memory did not suffice for 8 images at once: later ones were given 2 at a time"
        in result["run"]["warnings"]
    )
    lines = (tmp_path / "records" / "rank-0.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["cost"]["batch"] for row in rows if "image" in row] == [2] * 12
    assert [r["session"]["fitting"] for r in rows if "session" in r] == [None, 4, 2]
    assert watcher.lines == [
        "memory does not suffice for 8 images at once, 4 are tried",
        "memory does not suffice for 4 images at once, 2 are tried",
    ]
    assert len(list((tmp_path / "predictions").glob("*.png"))) == 12


def test_who_fits_is_not_warned(memory_dataset: Any) -> None:
    result = evaluate(Fits(8), memory_dataset(), options=Options(batch_size=8))
    assert result is not None
    assert not [warning for warning in result["run"]["warnings"] if "memory" in warning]


def test_a_resumed_run_still_says_so(
    tmp_path: Path, memory_dataset: Any, killed_after: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Changing(Fits):
        """The same method on a machine whose memory is another's first, and then its own."""

        def segment(self, images: Any, candidates: Any = None) -> Any:
            if len(images) > int(os.environ["FITTING"]):
                raise self.error
            return super().segment(images)

    options = Options(batch_size=4)
    monkeypatch.setenv("FITTING", "1")
    with pytest.raises(KeyboardInterrupt):
        evaluate(Changing(4), memory_dataset(), output=tmp_path, options=options,
                 observer=killed_after(4))  # fmt: skip
    monkeypatch.setenv("FITTING", "4")
    method = Changing(4)
    result = evaluate(method, memory_dataset(), output=tmp_path, options=options)
    assert method.asked == [4, 4]
    assert result is not None
    assert any("for 4 images at once" in warning for warning in result["run"]["warnings"])


def test_one_image_that_does_not_fit_ends_the_run(memory_dataset: Any) -> None:
    method = Fits(0)
    with pytest.raises(torch.OutOfMemoryError):
        evaluate(method, memory_dataset(), options=Options(batch_size=4))
    assert method.asked == [4, 2, 1]


def test_other_errors_are_not_tried_again(memory_dataset: Any) -> None:
    method = Fits(2, RuntimeError("CUDA error: an illegal memory access was encountered"))
    with pytest.raises(RuntimeError, match="illegal"):
        evaluate(method, memory_dataset(), options=Options(batch_size=4))
    assert method.asked == [4]


def test_what_did_not_fit_is_gone_before_fewer_are_tried() -> None:
    """The tensors of a failed attempt would be in the way of the next."""
    held: list[int] = []

    class Large:
        def __init__(self) -> None:
            held.append(1)

        def __del__(self) -> None:
            held.pop()

    def ask(items: Any) -> int:
        assert held == []
        large = Large()
        if len(items) > 1:
            raise MemoryError(large is None)
        return len(items)

    assert [n for _, n in Portions(4, lambda _size: None).answered(range(3), ask)] == [1, 1, 1]
