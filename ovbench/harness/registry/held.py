"""The state of objects that are given from Python, as their runs begin.

What a run itself changes in an object, such as the number of its calls or embeddings that it
keeps, is nobody's other weights. So a process remembers of each object what it was when its run
began, and what it was when the run ended: one that is still as its run left it stands for what it
was before.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from weakref import ref

from ovbench.harness.registry.state import State, state_of


@dataclass(frozen=True, slots=True)
class _Seen:
    owner: ref[object]
    began: State
    now: str


_SEEN: dict[int, _Seen] = {}


def began(thing: object) -> State:
    """The state with which a run of an object begins, or began if nobody changed it since."""
    state = state_of(thing)
    seen = _SEEN.get(id(thing))
    if seen is not None and seen.owner() is thing and seen.now == state.digest:
        return seen.began
    with suppress(TypeError):  # a class that has no room for a weak reference
        _SEEN[id(thing)] = _Seen(ref(thing, partial(_forget, id(thing))), state, state.digest)
    return state


def ended(thing: object) -> None:
    """A run of an object, of which :func:`began` was asked, is over."""
    if seen := _SEEN.get(id(thing)):
        _SEEN[id(thing)] = replace(seen, now=state_of(thing).digest)


def _forget(key: int, _owner: object) -> None:
    _SEEN.pop(key, None)
