"""How many parameters does a method hold?"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from functools import partial
from types import FunctionType, MethodType, ModuleType
from typing import Any

_LEAVES = (str, bytes, int, float, complex, type, ModuleType, FunctionType, type(None))


def count_parameters(holder: object) -> int:
    """Parameters of all PyTorch modules that can be reached from an object, each counted once.

    Attributes, containers, bound methods and partial functions are followed, so a method need
    not say where it keeps its networks. Buffers do not count.
    """
    torch = sys.modules.get("torch")
    if torch is None:  # nothing that was loaded can be a network
        return 0
    seen: set[int] = set()
    sizes: dict[int, int] = {}
    waiting = [holder]
    while waiting:
        item = waiting.pop()
        if isinstance(item, _LEAVES) or id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, torch.nn.Module):
            sizes |= {id(parameter): parameter.numel() for parameter in item.parameters()}
        elif not isinstance(item, torch.Tensor):
            waiting.extend(_held(item))
    return sum(sizes.values())


def _held(item: Any) -> Iterator[object]:
    """What an object keeps directly."""
    if isinstance(item, Mapping):
        yield from item.values()
    elif isinstance(item, list | tuple | set | frozenset):
        yield from item
    elif isinstance(item, MethodType):
        yield item.__self__
    elif isinstance(item, partial):
        yield from (item.func, *item.args, *item.keywords.values())
    else:
        yield from getattr(item, "__dict__", {}).values()
        for cls in type(item).__mro__:
            slots = cls.__dict__.get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                yield getattr(item, name, None)
