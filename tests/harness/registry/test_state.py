"""Equal objects have equal digests everywhere, and whatever changes in one changes its digest."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections import OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from enum import Enum
from functools import cache, partial
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovbench.harness.registry.compiled import compiled_digest
from ovbench.harness.registry.sources import code_of
from ovbench.harness.registry.state import state_of


class Kind(Enum):
    THING, STUFF = "thing", "stuff"


class Plain:
    def __init__(self, value: Any = None) -> None:
        self.value = value

    def answer(self) -> Any:
        return self.value


class Slotted:
    __slots__ = ("__hidden", "never", "value")

    def __init__(self, value: Any) -> None:
        self.__hidden = value


class Forgetful(Plain):
    """Leaves out of its pickles what decides its answers."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


@dataclass
class Data:
    value: Any
    names: list[str] = field(default_factory=lambda: ["a", "b"])


class Words(dict):
    pass


def cyclic(value: Any) -> Any:
    inner = Plain(value)
    inner.again = {"up": [inner, Plain(inner)]}
    return inner


def closing_over(value: Any) -> Any:
    return lambda: value


def on_a_class(value: Any) -> Any:
    return type("Made", (), {"__module__": "__main__", "weights": [value]})()


def weakly(value: Any) -> Any:
    key = Plain(1)
    return key, WeakKeyDictionary({key: value})


HOLDERS = {
    "nothing": lambda v: v,
    "object": Plain,
    "slots": Slotted,
    "forgetful": Forgetful,
    "dataclass": Data,
    "list": lambda v: [1, v],
    "dict": lambda v: {"k": v, "l": 2},
    "subclass": lambda v: Words(k=v),
    "ordered": lambda v: OrderedDict(k=v),
    "default": lambda v: defaultdict(list, k=v),
    "deque": lambda v: deque([v], maxlen=3),
    "proxy": lambda v: MappingProxyType({"k": v}),
    "namespace": lambda v: SimpleNamespace(k=v),
    "cycle": cyclic,
    "closure": closing_over,
    "method": lambda v: Plain(v).answer,
    "partial": lambda v: partial(print, v, end=""),
    "cached": lambda v: cache(closing_over(v)),
    "weak": weakly,
    "deep": lambda v: [{"a": (Plain([Slotted({"b": v})]),)}],
    "class": on_a_class,
}
LEAVES = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()),
    *(st.binary(), st.sampled_from(Kind), st.builds(Path, st.sampled_from("abc"))),
    st.lists(st.integers()).map(tuple),
    st.frozensets(st.integers()),
    st.lists(st.integers(0, 9)).map(lambda v: np.array(v, np.int16)),
)


def digest(value: Any) -> str:
    state = state_of(value)
    assert state.unread == ()
    return state.digest


def same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    return type(a) is type(b) and repr(a) == repr(b)


@pytest.mark.parametrize("holder", HOLDERS)
@given(a=LEAVES, b=LEAVES)
def test_an_object_differs_exactly_where_a_leaf_does(holder: str, a: Any, b: Any) -> None:
    hold = HOLDERS[holder]
    assert (digest(hold(a)) == digest(hold(b))) is same(a, b)


@given(st.sets(st.one_of(st.text(), st.integers(), st.tuples(st.integers(), st.text()))))
def test_neither_the_order_of_a_set_nor_that_of_attributes_counts(values: set[Any]) -> None:
    ordered = sorted(values, key=repr)
    backwards = ordered[::-1]
    assert digest(set(ordered)) == digest(set(backwards))
    pairs = [(f"n{i}", value) for i, value in enumerate(ordered)]
    one, two = Plain(), Plain()
    one.__dict__.update(pairs)
    two.__dict__.update(pairs[::-1])
    assert digest(one) == digest(two)
    if len(values) > 1:
        assert digest(dict(pairs)) != digest(dict(pairs[::-1]))


def test_equal_parts_may_be_one_or_several() -> None:
    part = Plain([1])
    assert digest([part, part]) == digest([part, Plain([1])])


@pytest.mark.parametrize("dtype", ["f4", ">f4", "i8", "?", "c8", "S3", "U2", "M8[s]", "O", "i4,f8"])
def test_arrays_are_their_values_however_they_lie(dtype: str, tmp_path: Path) -> None:
    array = np.zeros((3, 4), dtype)
    laid = np.zeros((8, 3), dtype).T[:, ::2]
    assert digest(array) == digest(laid) == digest(np.asfortranarray(array))
    assert digest(array) != digest(array.reshape(4, 3))
    other = array.copy()
    other[2, 3] = np.ones((), dtype)[()]
    assert digest(array) != digest(other)
    assert digest(np.ma.array([1, 2], mask=[0, 1])) != digest(np.ma.array([1, 2], mask=[1, 0]))
    kept = np.memmap(tmp_path / "weights", "f4", "w+", shape=(2,))
    before = digest(kept)
    kept[1] = 3
    assert digest(kept) != before


def test_tensors_and_modules_are_their_values() -> None:
    import torch
    from torch import nn

    for dtype in (torch.float32, torch.bfloat16, torch.int64, torch.bool, torch.complex64):
        tensor = torch.zeros(3, 4, dtype=dtype)
        other = tensor.clone()
        other[2, 3] = 1
        assert digest(tensor) == digest(torch.zeros(4, 3, dtype=dtype).T.requires_grad_(False))
        assert digest(tensor) != digest(other)
        assert digest(tensor) != digest(tensor.reshape(4, 3))
        assert digest(other.to_sparse()) != digest(tensor.to_sparse())
    assert digest(torch.zeros(2)) != digest(torch.zeros(2, dtype=torch.float64))
    assert digest(torch.tensor([1 + 1j]).conj()) == digest(torch.tensor([1 - 1j]))
    assert digest(torch.zeros(0)) != digest(torch.zeros(0, 1))

    def network() -> Any:
        torch.manual_seed(0)
        made = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.GELU())
        made.kept = made[0].register_forward_hook(partial(print, "hooked"))
        return made.eval()

    known = digest(network())
    assert digest(network()) == known

    def doing(change: Any) -> str:
        made = network()
        change(made)
        return digest(made)

    changed = [
        doing(lambda m: m.train()),
        doing(lambda m: m[0].weight.data.mul_(2)),
        doing(lambda m: m[1].running_mean.add_(1)),
        doing(lambda m: m[0].register_forward_hook(print)),
        doing(lambda m: setattr(m[2], "approximate", "tanh")),
    ]
    assert len({known, *changed}) == 6


def test_what_cannot_be_read_is_named() -> None:
    class Holding:
        def __init__(self) -> None:
            self.lock, self.plain = threading.RLock(), threading.Lock()
            self.inner = {"log": open(os.devnull)}  # noqa: SIM115
            self.stream = (i for i in range(3))

    one = Holding()
    with one.inner["log"]:
        assert state_of(one).unread == (
            "Holding.inner.log (TextIOWrapper)",
            "Holding.stream (generator)",
        )
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    assert state_of(Plain(deep)).unread == ("Plain (nested too deeply)",)


def test_reading_an_object_leaves_its_code_as_it_was() -> None:
    class Fresh(Plain): ...

    before = code_of(Fresh(1)), compiled_digest(Fresh, lambda _: True)
    state_of(Fresh(1))
    assert (code_of(Fresh(1)), compiled_digest(Fresh, lambda _: True)) == before


SCRIPT = """
import json, logging, random, re, sys
import numpy as np
sys.path.insert(0, {folder!r})
from test_state import HOLDERS, Data, Kind, state_of
names = {{"cat", "dog", "bird", ("cow", 1), frozenset(["a", "b"])}}
values = dict(
    names=names, kind=Kind.THING, log=logging.getLogger("x"), pattern=re.compile("a+"),
    drawn=np.random.default_rng(3), python=random.Random(3), data=Data({{1.5: names}}),
    function=lambda x: x in {{"cat", "dog"}},
)
found = {{name: state_of(value) for name, value in values.items()}}
found |= {{name: state_of(hold("v")) for name, hold in HOLDERS.items()}}
print(json.dumps({{name: [state.digest, state.unread] for name, state in found.items()}}))
"""


def test_every_process_finds_the_same_digests() -> None:
    script = SCRIPT.format(folder=str(Path(__file__).parent))
    answers = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
        )
        for seed in ("1", "2")
    ]
    one, two = (json.loads(process.communicate()[0]) for process in answers)
    assert one == two
    assert all(re.fullmatch("[0-9a-f]{64}", found) and not unread for found, unread in one.values())
