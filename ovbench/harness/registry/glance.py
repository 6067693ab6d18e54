"""What a method's settings and presets are called, read from its source and not executed.

A method's module imports PyTorch and all that stands on it. A name that does not exist should
not have to wait for that.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from ovbench.harness.contract.settings import refuse_unknown_preset, refuse_unknown_setting
from ovbench.harness.files.regular import regular
from ovbench.harness.registry.names import METHODS


def refuse_unknown_names(method: str, preset: str | None, settings: Collection[str]) -> None:
    """Refuse what a method does not have, as far as its source says so plainly.

    Raises:
        UsageError: no such method, preset or setting.
    """
    module, _, attribute = METHODS.entry(method).target.partition(":")
    found = _find(module, attribute)
    if found is None or not isinstance(found[1], ast.ClassDef):
        return
    home, method_class = found[0], found[1]
    presets = _presets(home, method_class)
    if preset is not None and presets is not None:
        refuse_unknown_preset(method, preset, presets)
    if settings and (names := _settings(home, method_class)) is not None:
        for name in settings:
            refuse_unknown_setting(name, names)


def _presets(module: str, method: ast.ClassDef) -> list[str] | None:
    """None where they are not a plain dictionary."""
    value = _value(method.body, "presets")
    if value is None:
        return None if method.bases else []
    if isinstance(value, ast.Name):
        found = _find(module, value.id)
        value = _assigned(found[1]) if found else None
    if not isinstance(value, ast.Dict):
        return None
    keys = [key.value for key in value.keys if isinstance(key, ast.Constant)]
    return [str(key) for key in keys] if len(keys) == len(value.keys) else None


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
