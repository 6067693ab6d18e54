"""Values of Python callers, held to the types that a dataclass writes beside its fields."""

from __future__ import annotations

import types
from collections.abc import Collection
from dataclasses import fields
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ovbench.errors import UsageError


def check_types(given: Any, counts: Collection[str] = ()) -> None:
    """Hold every field of a dataclass to its type: literals, optional ones and plain classes.

    Args:
        counts: fields that are at least 1 where they are numbers.

    Raises:
        UsageError: a value of another type, or a smaller number; names the field and what it
            takes.
    """
    hints = get_type_hints(type(given))
    for field in fields(given):
        value = getattr(given, field.name)
        if not _fits(value, hints[field.name]):
            raise UsageError(
                f"{type(given).__name__}({field.name}={value!r}): expected "
                f"{type_name(hints[field.name])}"
            )
        if field.name in counts and value is not None and value < 1:
            raise UsageError(f"{field.name.replace('_', '-')} {value}: must be at least 1")


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


def _fits(value: Any, hint: Any) -> bool:
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, one) for one in args)
    if origin is Literal:
        return any(value is one or (type(value) is type(one) and value == one) for one in args)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)
