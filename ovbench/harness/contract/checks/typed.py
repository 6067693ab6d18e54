"""Values of Python callers, held to the types that are written beside their names."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields, is_dataclass
from functools import cache, wraps
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

from ovbench.errors import UsageError, outliving_exits

P = ParamSpec("P")
R = TypeVar("R")

_LOADERS = {"Method": "load_method", "Dataset": "load_dataset", "Filter": "load_filter"}
_SELDOM_ASKED = {"decode"}  # of a dataset, by `ovbench score` alone


def public(function: Callable[P, R]) -> Callable[P, R]:
    """A function that users call: what is wrong with their arguments or code is one line.

    Its arguments are held to their types, and code that ends the program raises an
    :class:`~ovbench.errors.OvbenchError` in a notebook, too.
    """

    @wraps(function)
    def held(*args: P.args, **kwargs: P.kwargs) -> R:
        given = inspect.signature(function).bind(*args, **kwargs).arguments
        _check(function.__name__, given, get_type_hints(function))
        with outliving_exits():
            return function(*args, **kwargs)

    return held


def check_types(given: Any, counts: Collection[str] = ()) -> None:
    """Hold every field of a dataclass to its type: literals, optional ones, tuples and classes.

    Args:
        counts: fields that are at least 1 where they are numbers.

    Raises:
        UsageError: a value of another type, or a smaller number; names the field and what it
            takes.
    """
    kind: Any = type(given)
    values = {field.name: getattr(given, field.name) for field in fields(given)}
    _check(kind.__name__, values, _hints(kind))
    for name in counts:
        if values[name] is not None and values[name] < 1:
            raise UsageError(f"{name.replace('_', '-')} {values[name]}: must be at least 1")


def type_name(hint: Any) -> str:
    """What a type is called in a message, such as ``int or none``."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join("none" if a is type(None) else type_name(a) for a in args)
    if origin is Literal:
        return " or ".join(str(a) for a in args)
    if origin is tuple:
        return f"{type_name(args[0])},..."
    if hint is float:
        return "finite float"
    return getattr(hint, "__name__", str(hint))


def _check(called: str, values: Mapping[str, Any], hints: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if not _fits(value, hints[name]):
            shown = repr(value)
            shown = shown if len(shown) <= 80 else f"{shown[:80]}..."
            raise UsageError(
                f"{called}({name}={shown}): expected {type_name(hints[name])}"
                f"{_mend(value, hints[name])}"
            )


@cache
def _hints(cls: Any) -> Mapping[str, Any]:
    return get_type_hints(cls)


def _fits(value: Any, hint: Any) -> bool:
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, one) for one in args)
    if origin is Literal:
        return any(value is one or (type(value) is type(one) and value == one) for one in args)
    if origin is tuple:  # a list does as well; the letters of a word do not
        return isinstance(value, tuple | list) and all(_fits(one, args[0]) for one in value)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if getattr(hint, "_is_protocol", False):
        return not isinstance(value, type) and not _lacks(value, hint)
    return isinstance(value, origin or hint)


def _lacks(value: Any, protocol: type[Any]) -> list[str]:
    """What is asked of a protocol's objects and a value does not have."""
    asked = [name for name in vars(protocol) if not name.startswith("_")]
    return [name for name in asked if name not in _SELDOM_ASKED and not hasattr(value, name)]


def _mend(value: Any, hint: Any) -> str:
    """What to write instead, as far as that can be told."""
    kinds = get_args(hint) or (hint,)
    loader = next(
        (_LOADERS[k.__name__] for k in kinds if getattr(k, "__name__", "") in _LOADERS), ""
    )
    if isinstance(value, type):
        return f"; that is a class: give what {value.__name__}(...) makes"
    if loader and isinstance(value, str):
        return f"; {loader}({value[:80]!r}) gives it"
    if protocol := next((k for k in kinds if getattr(k, "_is_protocol", False)), None):
        return f"; it has no {', '.join(_lacks(value, protocol))}"
    if isinstance(value, Mapping):
        made = [type_name(kind) for kind in kinds if is_dataclass(kind)]
        return f"; write {made[0]}(name=value, ...)" if made else ""
    return ""
