"""What an object's class was compiled to, with the values that its functions close over.

Source files do not tell two classes apart that one function made, nor what a notebook's cell
holds. Another version of Python compiles otherwise.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial, singledispatch
from types import CodeType, FunctionType, MethodType
from typing import Any

import numpy as np
import numpy.typing as npt

# What a class has without being told, says where it lies, or stands in no certain order.
_NO_CODE = {"__module__", "__qualname__", "__doc__", "__dict__", "__weakref__", "__firstlineno__",
            "__static_attributes__", "__slotnames__"}  # fmt: skip  # the last is pickle's
_Plain = bool | int | float | complex | str | bytes | None


def compiled_digest(thing: object, is_own: Callable[[type], bool]) -> str:
    """SHA-256, as hex.

    Args:
        is_own: whether to look into a class; of another one its name is enough.
    """
    # Held until the end: an id is another object's as soon as its owner is gone.
    seen: dict[int, object] = {}
    digest, waiting = hashlib.sha256(), [thing]
    while waiting:
        value = waiting.pop()
        if isinstance(value, _Plain):
            digest.update(f"{value!r}\n".encode())
        elif id(value) not in seen:
            seen[id(value)] = value
            digest.update(f"{type(value).__qualname__}\n".encode())
            if not isinstance(value, type):
                waiting += _parts(value)
            elif is_own(value):
                waiting += _body(value)
            else:
                waiting += (value.__module__, value.__qualname__)
    return digest.hexdigest()


def _body(value: type) -> Iterator[Any]:
    yield from value.__mro__[1:]
    for name, held in sorted(vars(value).items()):
        if name not in _NO_CODE:
            yield from (name, held)


@singledispatch
def _parts(value: Any) -> Iterable[Any]:
    """What decides how a value answers; of an object its class and the functions it holds."""
    return (
        type(value),
        *(held for held in getattr(value, "__dict__", {}).values() if callable(held)),
    )


@_parts.register
def _(value: FunctionType) -> Iterable[Any]:
    cells = [cell.cell_contents for cell in value.__closure__ or () if is_full(cell)]
    scope = value.__globals__
    named = {name: scope[name] for name in _names(value.__code__) if name in scope}
    own = [item for item in sorted(named.items()) if _is_of(scope, item[1])]
    return (value.__code__, value.__defaults__, value.__kwdefaults__, *cells, *own)


@_parts.register
def _(value: CodeType) -> Iterable[Any]:
    return (value.co_code, *value.co_names, *value.co_consts)


@_parts.register(MethodType)
@_parts.register(staticmethod)
@_parts.register(classmethod)
def _(value: Any) -> Iterable[Any]:
    return (value.__func__,)


@_parts.register
def _(value: property) -> Iterable[Any]:
    return (value.fget,)


@_parts.register
def _(value: partial) -> Iterable[Any]:  # type: ignore[type-arg]
    return (value.func, value.args, value.keywords)


@_parts.register(tuple)
@_parts.register(list)
def _(value: Iterable[Any]) -> Iterable[Any]:
    return value


@_parts.register(set)
@_parts.register(frozenset)
def _(value: Any) -> Iterable[Any]:
    return sorted(map(repr, value))


@_parts.register
def _(value: Mapping) -> Iterable[Any]:  # type: ignore[type-arg]
    return [part for item in value.items() for part in item]


@_parts.register
def _(value: np.ndarray) -> Iterable[Any]:
    array: npt.NDArray[Any] = value
    return (str(array.dtype), array.shape, array.tobytes())


def is_full(cell: Any) -> bool:
    """Whether a name that a function closes over is bound yet."""
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


def _names(code: CodeType) -> Iterator[str]:
    """The globals and attributes that a function names, and those within it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _is_of(scope: Mapping[str, Any], value: object) -> bool:
    """Whether what a module's name stands for was made there, or is a constant."""
    if isinstance(value, FunctionType | type):
        return value.__module__ == scope.get("__name__")
    return isinstance(value, bool | int | float | str | tuple | np.ndarray)
