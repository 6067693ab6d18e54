"""Counting beside the main loop: in order, one at a time, and nothing that goes wrong is lost."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovbench.errors import ContractError
from ovbench.harness.run.beside import Beside
from ovbench.harness.run.runner import evaluate


def test_the_owner_goes_on_while_work_is_done() -> None:
    found: list[int] = []
    going_on = threading.Event()

    def work() -> int:
        assert going_on.wait(10)  # until the owner is past give()
        return 1

    with Beside(found.append) as beside:
        beside.give(work)
        going_on.set()
        assert not found
        beside.give(lambda: 2)
        assert found == [1]
    assert found == [1, 2]


def failing() -> int:
    raise ContractError("of the work")


def owner(*work: Callable[[], int], fails: bool = False) -> list[int]:
    found: list[int] = []
    try:
        with Beside(found.append) as beside:
            for one in work:
                beside.give(one)
            if fails:
                raise ValueError("of the owner")
    except ValueError:
        found.append(-1)
    return found


def test_what_work_raises_comes_up_with_the_next_one() -> None:
    with pytest.raises(ContractError, match="of the work"):
        owner(failing, lambda: 2)


def test_what_work_raised_comes_before_what_its_owner_raised_later() -> None:
    with pytest.raises(ContractError, match="of the work") as raised:
        owner(failing, fails=True)
    assert isinstance(raised.value.__context__, ValueError)


def test_work_is_done_where_its_owner_fails() -> None:
    assert owner(lambda: 1, fails=True) == [1, -1]


def test_what_was_worked_on_does_not_outlast_it() -> None:
    class Picture:
        pass

    picture = Picture()
    gone = threading.Event()
    weakref.finalize(picture, gone.set)
    with Beside[None](lambda _: None) as beside:
        beside.give(partial(lambda _: None, picture))
        del picture
        assert gone.wait(10)


def test_its_thread_ends_with_it() -> None:
    with Beside[int](lambda _: None) as beside:
        beside.give(lambda: 1)
        assert any(thread.name == "ovbench-count" for thread in threading.enumerate())
    assert all(thread.name != "ovbench-count" for thread in threading.enumerate())


def test_a_method_may_answer_in_the_same_array_again_and_again(
    tmp_path: Path, memory_dataset: Any, thresholds: Any
) -> None:
    class Reusing:
        """Writes every answer over the one before."""

        def prepare(self, vocabulary: Any) -> None:
            thresholds.prepare(vocabulary)
            self._kept: dict[tuple[int, ...], Any] = {}

        def segment(self, images: Any, candidates: Any = None) -> list[Any]:
            (answer,) = thresholds.segment(images)
            kept = self._kept.setdefault(answer.shape, np.empty_like(answer))
            kept[:] = answer
            return [kept]

    def counted(method: Any, name: str) -> Any:
        result = evaluate(method, memory_dataset(), output=tmp_path / name)
        assert result is not None
        return result["metrics"], result["per_class"]

    assert counted(Reusing(), "reusing") == counted(thresholds, "own")


def test_a_wrong_answer_is_named_after_its_image_though_others_were_asked(
    tmp_path: Path, memory_dataset: Any
) -> None:
    class Wrong:
        def prepare(self, vocabulary: Any) -> None:
            self._asked = 0

        def segment(self, images: Any, candidates: Any = None) -> list[Any]:
            self._asked += 1
            strange = 200 if self._asked == 3 else 0
            return [np.full(image.shape[:2], strange, np.uint8) for image in images]

    data = memory_dataset()
    with pytest.raises(ContractError, match=f"image {data.ids[2]}: "):
        evaluate(Wrong(), data, output=tmp_path)
    shard = (tmp_path / "records" / "rank-0.jsonl").read_text()
    assert [name for name in data.ids if f'"{name}"' in shard] == list(data.ids[:2])
