"""A method's card and what its settings and presets are called, read from its source.

A method's module imports PyTorch and all that stands on it. Neither a list of methods nor a name
that does not exist should have to wait for that, so that nothing is executed here.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ovbench.errors import UsageError
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.settings import refuse_unknown_preset, refuse_unknown_setting
from ovbench.harness.files.regular import regular
from ovbench.harness.registry.names import METHODS


def card_of(method: str) -> MethodCard | None:
    """A method's card, or None where its source has none.

    Raises:
        UsageError: no such method, or its card is not written with literals.
    """
    found = _class_of(method)
    card = _value(found[1].body, "card") if found else None
    if card is None:
        return None
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
    found = _class_of(method)
    value = _value(found[1].body, "needs_exemplars") if found else None
    return isinstance(value, ast.Constant) and value.value is True


def preset_names(method: str) -> list[str]:
    """Those of a method's presets whose names its source spells out."""
    found = _class_of(method)
    table = _preset_table(*found) if found else None
    return _spelled(table) if table else []


def refuse_missing_packages(method: str) -> None:
    """Refuse a method that names packages in its card which are not installed.

    Raises:
        UsageError: says how to install them; no such method.
    """
    card = card_of(method)
    missing = [name for name in card.packages if not _is_installed(name)] if card else []
    if missing:
        raise UsageError(f"{method} needs what is not installed: `pip install {' '.join(missing)}`")


def refuse_unknown_names(method: str, preset: str | None, settings: Collection[str]) -> None:
    """Refuse what a method does not have, as far as its source says so plainly.

    Raises:
        UsageError: no such method, preset or setting.
    """
    found = _class_of(method)
    if found is None:
        return
    presets = _presets(*found)
    if preset is not None and presets is not None:
        refuse_unknown_preset(method, preset, presets)
    if settings and (names := _settings(*found)) is not None:
        for name in settings:
            refuse_unknown_setting(name, names)


def _is_installed(package: str) -> bool:
    try:
        version(package)
    except (PackageNotFoundError, ValueError):  # the latter of a name that is empty
        return False
    return True


def _class_of(method: str) -> tuple[str, ast.ClassDef] | None:
    """The module that makes a method's class, and the class; None where that is not plain."""
    module, _, attribute = METHODS.entry(method).target.partition(":")
    found = _find(module, attribute)
    return (found[0], found[1]) if found and isinstance(found[1], ast.ClassDef) else None


def _presets(module: str, method: ast.ClassDef) -> list[str] | None:
    """None where they are not a plain dictionary."""
    if _value(method.body, "presets") is None:
        return None if method.bases else []
    table = _preset_table(module, method)
    names = _spelled(table) if table else []
    return names if table and len(names) == len(table.keys) else None


def _preset_table(module: str, method: ast.ClassDef) -> ast.Dict | None:
    value = _value(method.body, "presets")
    if isinstance(value, ast.Name):
        found = _find(module, value.id)
        value = _assigned(found[1]) if found else None
    return value if isinstance(value, ast.Dict) else None


def _spelled(table: ast.Dict) -> list[str]:
    return [str(key.value) for key in table.keys if isinstance(key, ast.Constant)]


def _settings(module: str, method: ast.ClassDef) -> list[str] | None:
    """None where they are not a plain dataclass."""
    for node in method.body:
        if isinstance(node, ast.ClassDef) and node.name == "Settings":
            return _fields(node)
    value = _value(method.body, "Settings")
    found = _find(module, value.id) if isinstance(value, ast.Name) else None
    if found is None or not isinstance(found[1], ast.ClassDef):
        return None
    return _fields(found[1])


def _fields(settings: ast.ClassDef) -> list[str] | None:
    if settings.bases:
        return None
    assigned = [node.target for node in settings.body if isinstance(node, ast.AnnAssign)]
    return [target.id for target in assigned if isinstance(target, ast.Name)]


def _find(module: str, name: str) -> tuple[str, ast.stmt] | None:
    """Where a module's name is made, followed through imports, and by which statement."""
    for node in _statements(module):
        if isinstance(node, ast.ClassDef) and node.name == name:
            return module, node
        if isinstance(node, ast.Assign | ast.AnnAssign) and _value([node], name) is not None:
            return module, node
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                if (alias.asname or alias.name) == name and node.module != module:
                    return _find(node.module, alias.name)
    return None


def _value(body: Collection[ast.stmt], name: str) -> ast.expr | None:
    """What is assigned to a name in a class or a module."""
    for node in body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return _assigned(node)
    return None


def _assigned(node: ast.stmt) -> ast.expr | None:
    return node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None


@cache
def _statements(module: str) -> tuple[ast.stmt, ...]:
    """Of a module's source; none where it cannot be read."""
    for path in _places(module):
        try:
            return tuple(ast.parse(regular(path).read_bytes()).body)
        except (OSError, SyntaxError, ValueError, RecursionError):
            continue
    return ()


def _places(module: str) -> Iterator[Path]:
    """Where a module may lie; only the outermost package is looked up, and none is imported."""
    top, *rest = module.split(".")
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return
    if spec is None:
        return
    if not rest and spec.origin:
        yield Path(spec.origin)
    for folder in spec.submodule_search_locations or ():
        yield Path(folder, *rest, "__init__.py")
        if rest:
            yield Path(folder, *rest).with_suffix(".py")
