"""A method's card and what its settings and presets are called, read from its source.

A method's module imports PyTorch and all that stands on it. Neither a list of methods nor a name
that does not exist should have to wait for that, so that nothing is executed here.
"""

from __future__ import annotations

import ast
from collections.abc import Collection
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ovbench.errors import UsageError
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.published import PUBLISHED
from ovbench.harness.contract.settings import refuse_unknown_preset, refuse_unknown_setting
from ovbench.harness.registry.lineage import Lineage, Place, find, lineage, value_of
from ovbench.harness.registry.names import METHODS


def card_of(method: str) -> MethodCard | None:
    """A method's card, or None where its source has none.

    Raises:
        UsageError: no such method, or its card is not written with literals.
    """
    found = _value(method, "card")
    if found is None:
        return None
    _, card = found
    try:
        if not isinstance(card, ast.Call) or card.args:
            raise ValueError("is not written as MethodCard(name=value, ...)")
        return MethodCard(**{str(one.arg): _literal(one) for one in card.keywords})
    except (TypeError, ValueError) as error:
        package = METHODS.entry(method).package
        raise UsageError(f"the card of {method}, of package {package}: {error}") from None


def _literal(given: ast.keyword) -> Any:
    try:
        return ast.literal_eval(given.value)
    except ValueError:  # which names an address in memory
        raise ValueError(f"{given.arg}={ast.unparse(given.value)} is no literal") from None


def needs_exemplars(method: str) -> bool:
    """Whether a method says that every class must be shown by a picture."""
    found = _value(method, "needs_exemplars")
    return found is not None and isinstance(found[1], ast.Constant) and found[1].value is True


def preset_names(method: str) -> list[str]:
    """Those of a method's presets whose names its source spells out."""
    line = lineage_of(method)
    if line is None:
        return []
    table = _preset_table(line)
    return [*(_spelled(table) if table else []), *_published(line)]


def missing_packages(card: MethodCard | None) -> list[str]:
    """The packages that a card names and that are not installed."""
    return [name for name in card.packages if not _is_installed(name)] if card else []


def refuse_missing_packages(method: str) -> None:
    """Refuse a method that names packages in its card which are not installed.

    Raises:
        UsageError: says how to install them; no such method.
    """
    if missing := missing_packages(card_of(method)):
        raise UsageError(f"{method} needs what is not installed: `pip install {' '.join(missing)}`")


def refuse_unknown_names(method: str, preset: str | None, settings: Collection[str]) -> None:
    """Refuse what a method does not have, as far as its source says so plainly.

    Raises:
        UsageError: no such method, preset or setting.
    """
    line = lineage_of(method)
    if line is None:
        return
    presets = _presets(line)
    # A base that nobody can read may have rows for benchmarks.
    unsure = preset == PUBLISHED and not line.whole
    if preset is not None and presets is not None and not unsure:
        refuse_unknown_preset(method, preset, presets)
    if settings and (names := _settings(line)) is not None:
        for name in settings:
            refuse_unknown_setting(name, names)


def _is_installed(package: str) -> bool:
    try:
        version(package)
    except (PackageNotFoundError, ValueError):  # the latter of a name that is empty
        return False
    return True


def lineage_of(method: str) -> Lineage | None:
    """A method's class and its bases; None where it is not plain what makes it."""
    module, _, attribute = METHODS.entry(method).target.partition(":")
    found = find(module, attribute)
    return lineage((found[0], found[1])) if found and isinstance(found[1], ast.ClassDef) else None


def _value(method: str, name: str) -> tuple[str, ast.expr] | None:
    line = lineage_of(method)
    return line.value(name) if line else None


def _presets(line: Lineage) -> list[str] | None:
    """None where they are not a plain dictionary."""
    if line.value("presets") is None:
        return _published(line) if line.whole else None
    table = _preset_table(line)
    names = _spelled(table) if table else []
    return [*names, *_published(line)] if table and len(names) == len(table.keys) else None


def _published(line: Lineage) -> list[str]:
    """The name that stands for rows of benchmarks, where there are any."""
    found = line.value("published")
    empty = found is None or (isinstance(found[1], ast.Tuple | ast.List) and not found[1].elts)
    return [] if empty else [PUBLISHED]


def _preset_table(line: Lineage) -> ast.Dict | None:
    found = line.value("presets")
    if found is None:
        return None
    module, value = found
    if isinstance(value, ast.Name):
        made = find(module, value.id)
        named = value_of(made[1]) if made else None
        return named if isinstance(named, ast.Dict) else None
    return value if isinstance(value, ast.Dict) else None


def _spelled(table: ast.Dict) -> list[str]:
    return [str(key.value) for key in table.keys if isinstance(key, ast.Constant)]


def _settings(line: Lineage) -> list[str] | None:
    """None where they are not a plain dataclass."""
    found = line.inner("Settings")
    return _fields(found) if found else None


def _fields(settings: Place) -> list[str] | None:
    line = lineage(settings)
    if not line.whole:
        return None
    found: dict[str, None] = {}
    for _, node in reversed(line.classes):  # a dataclass begins with its bases' fields
        assigned = [one for one in node.body if isinstance(one, ast.AnnAssign)]
        fields = [one for one in assigned if "ClassVar" not in ast.unparse(one.annotation)]
        found |= {one.target.id: None for one in fields if isinstance(one.target, ast.Name)}
    return list(found)
