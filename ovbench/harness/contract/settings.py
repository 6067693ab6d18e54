"""A method's settings: one frozen dataclass in which every value names its source.

>>> @dataclass(frozen=True)
... class Settings:
...     threshold: float = setting(0.15, "paper, table 2", "maps below this are background")
>>> override(Settings, {"threshold": "0.2"})
Settings(threshold=0.2)
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from math import isfinite
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from ovbench.errors import UsageError
from ovbench.harness.contract.checks.nearest import nearest
from ovbench.harness.contract.checks.typed import type_name

S = TypeVar("S")

# What tensors hold: they would make infinity of a larger number, or an error hours later.
_LARGEST = {int: 2**63 - 1, float: 3.4e38}


SIDE = 4096
"""For ``most``: pixels along a side of what a network sees; twice what any paper takes."""

MANY = 1000
"""For ``most``: rounds, layers, pictures or clusters."""

FACTOR = 1000
"""For ``most``: by what scores are multiplied; ten times what any paper takes."""


def setting(
    default: Any,
    source: str,
    help: str,
    *,
    least: float | None = None,
    most: float | None = None,
    picks: str | Mapping[str, str] | None = None,
    when: Mapping[str, str | tuple[str, ...]] | None = None,
) -> Any:
    """A dataclass field that knows where its default comes from.

    Args:
        default: the value; must be immutable.
        source: a paper's section, a path in released code, or "our choice" with the reason.
        help: one line for ``ovbench list methods METHOD``.
        least: no number of it is smaller.
        most: no number of it is further from 0: what is larger costs time or memory without
            an end, and is refused before any work.
        picks: where it chooses weights, which: ``"role/name"`` of
            :mod:`ovbench.models.weights.catalogue` with settings in braces, such as
            ``"sam/{sam}"`` or ``"clip/{architecture} {pretrained}"``, or that of every value.
            Written as a literal or by the name of one, since it is read from source.
        when: where it only does so while other settings have this value, or one of these; a
            literal, too.
    """
    metadata = {
        "source": source, "help": help, "least": least, "most": most, "picks": picks, "when": when,
    }  # fmt: skip
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class SettingInfo:
    """One setting, as ``ovbench list methods METHOD`` shows it."""

    name: str
    type: str
    default: Any
    source: str
    help: str


def describe(cls: type[Any]) -> list[SettingInfo]:
    """Every setting of a settings dataclass with its type, default, source and meaning."""
    hints = typing.get_type_hints(cls)
    return [
        SettingInfo(
            f.name,
            type_name(hints[f.name]),
            None if f.default is MISSING else f.default,
            f.metadata.get("source", ""),
            f.metadata.get("help", ""),
        )
        for f in fields(cls)
    ]


def resolved(settings: Any) -> dict[str, Any]:
    """The settings as JSON-ready values, for the result and the run's identity."""
    values = asdict(settings)
    return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}


def settings_of(asked: object) -> dict[str, Any]:
    """What to record of the settings of a method or a filter that is not registered.

    Its ``settings`` if they are a dataclass, else those arguments it was built with that are
    numbers, words or lists of them and that it keeps under their own names.
    """
    settings = getattr(asked, "settings", None)
    if is_dataclass(settings):
        return resolved(settings)
    try:
        names = inspect.signature(type(asked)).parameters
    except (TypeError, ValueError):  # a class that does not say
        return {}
    kept = {name: getattr(asked, name, None) for name in names}
    return {name: value for name, value in kept.items() if _is_plain(value)}


def _is_plain(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return isinstance(value, bool | int | str) or (isinstance(value, float) and isfinite(value))


def override(cls: type[S], values: Mapping[str, Any]) -> S:
    """Build settings from defaults and ``values``; strings are parsed by each field's type.

    Raises:
        UsageError: an unknown name, a value that does not parse, or a number that is out of
            bounds.
    """
    hints = typing.get_type_hints(cls)
    known = {f.name: f for f in fields(cls)}  # type: ignore[arg-type]
    parsed: dict[str, Any] = {}
    for name, value in values.items():
        refuse_unknown_setting(name, list(known))
        try:
            parsed[name] = _parse(value, hints[name])
        except (ValueError, OverflowError):
            raise UsageError(
                f"setting {name}={value!r}: expected {type_name(hints[name])}"
            ) from None
        _refuse_excess(name, parsed[name], known[name].metadata)
    try:
        return cls(**parsed)
    except ValueError as error:  # a dataclass may check its values in __post_init__
        raise UsageError(f"settings: {error}") from None


def _refuse_excess(name: str, value: Any, bounds: Mapping[str, Any]) -> None:
    least, most = bounds.get("least"), bounds.get("most")
    for number in value if isinstance(value, tuple) else (value,):
        if not isinstance(number, int | float):
            continue
        if least is not None and number < least:
            raise UsageError(f"setting {name}={number}: at least {least}")
        if most is not None and abs(number) > most:
            raise UsageError(f"setting {name}={number}: at most {most}")


def require_shares(settings: Any, *names: str) -> None:
    """For a dataclass's ``__post_init__``: a ValueError unless these numbers are within 0..1."""
    for name in names:
        if not 0 <= getattr(settings, name) <= 1:
            raise ValueError(f"{name} must lie between 0 and 1")


def refuse_unknown_setting(name: str, names: Sequence[str]) -> None:
    """Raise a :class:`UsageError` that suggests the nearest name, if this is none of them."""
    if name not in names:
        raise UsageError(f"no setting {name!r}; {nearest(name, names)}")


def refuse_unknown_preset(method: str, name: str, names: Collection[str]) -> None:
    """Raise a :class:`UsageError` if a method has no such preset."""
    if name not in names:
        raise UsageError(f"{method} has no preset {name!r}; it has: {', '.join(names) or 'none'}")


def parse_assignments(assignments: Sequence[str], option: str = "--set") -> dict[str, str]:
    """Split ``["name=value", ...]`` as given by a repeated option.

    Raises:
        UsageError: an item without "=".
    """
    pairs = [item.partition("=") for item in assignments]
    for name, sign, _ in pairs:
        if not sign or not name:
            raise UsageError(f"{option} {name}: write it as name=value")
    return {name.strip(): value.strip() for name, _, value in pairs}


def _parse(value: Any, hint: Any) -> Any:
    """``value`` as ``hint`` says; ValueError where it does not fit."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _parse_union(value, args)
    if origin is Literal:
        for choice in args:
            if str(choice) == str(value):
                return choice
        raise ValueError
    if origin is tuple:
        items = value.split(",") if isinstance(value, str) else value
        if not isinstance(items, (list, tuple)):
            raise ValueError
        return tuple(
            _parse(i.strip() if isinstance(i, str) else i, args[0]) for i in items if i != ""
        )
    if hint is bool:
        words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
        try:
            return words[str(value).lower()]
        except KeyError:
            raise ValueError from None
    if hint in (int, float, str):
        if not isinstance(value, (str, int, float)):
            raise ValueError
        if hint is int and isinstance(value, float) and not value.is_integer():
            raise ValueError
        parsed = hint(value)
        if isinstance(parsed, int | float) and not abs(parsed) <= _LARGEST[hint]:
            raise ValueError  # nor is not-a-number at most anything
        return parsed
    raise TypeError(f"settings cannot have the type {hint!r}")


def _parse_union(value: Any, options: tuple[Any, ...]) -> Any:
    if type(None) in options and (value is None or str(value).lower() in ("none", "null")):
        return None
    for option in options:
        if option is not type(None):
            try:
                return _parse(value, option)
            except ValueError:
                continue
    raise ValueError
