"""A class and what it stands on, read from source: nothing is imported, so nothing is executed.

What is computed, or made in a way that this does not follow, is unknown and said to be so.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from ovbench.harness.files.regular import regular

Place = tuple[str, ast.ClassDef]
"""The module that makes a class, and the class."""

# These bases give a class nothing that is looked for here.
_BARE = {"object", "ABC", "Protocol", "Generic"}


@dataclass(frozen=True, slots=True)
class Lineage:
    """A class and its bases, in the order in which Python looks for an attribute.

    Attributes:
        whole: no base is unknown; else the classes end before the first one that is.
    """

    classes: Sequence[Place]
    whole: bool

    def value(self, name: str) -> tuple[str, ast.expr] | None:
        """The expression of a class attribute, and the module whose names stand in it."""
        for module, node in self.classes:
            if (found := assigned_to(name, node.body)) is not None:
                return module, found
        return None

    def inner(self, name: str) -> Place | None:
        """A class that is an attribute: made in the class's body, or elsewhere and named there."""
        for module, node in self.classes:
            for one in node.body:
                if isinstance(one, ast.ClassDef) and one.name == name:
                    return module, one
            if (value := assigned_to(name, node.body)) is not None:
                found = find(module, value.id) if isinstance(value, ast.Name) else None
                return (
                    (found[0], found[1]) if found and isinstance(found[1], ast.ClassDef) else None
                )
        return None


def lineage(place: Place) -> Lineage:
    """A class with its bases, as far as each is named plainly."""
    classes, whole = _climb(place, ())
    # A class that several others stand on comes behind all of them.
    last = {id(node): position for position, (_, node) in enumerate(classes)}
    return Lineage([one for i, one in enumerate(classes) if last[id(one[1])] == i], whole)


def _climb(place: Place, below: Sequence[ast.ClassDef]) -> tuple[list[Place], bool]:
    module, node = place
    found = [place]
    for base in node.bases:
        named = base.value if isinstance(base, ast.Subscript) else base
        if isinstance(named, ast.Name) and named.id in _BARE:
            continue
        above = find(module, named.id) if isinstance(named, ast.Name) else None
        if above is None or not isinstance(above[1], ast.ClassDef) or above[1] in (*below, node):
            return found, False
        classes, whole = _climb((above[0], above[1]), (*below, node))
        found += classes
        if not whole:
            return found, False
    return found, True


def find(module: str, name: str) -> tuple[str, ast.stmt] | None:
    """Where a module's name is made, followed through imports, and by which statement."""
    for node in _statements(module):
        if isinstance(node, ast.ClassDef) and node.name == name:
            return module, node
        if isinstance(node, ast.Assign | ast.AnnAssign) and assigned_to(name, [node]) is not None:
            return module, node
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                if (alias.asname or alias.name) == name and node.module != module:
                    return find(node.module, alias.name)
    return None


def assigned_to(name: str, body: Collection[ast.stmt]) -> ast.expr | None:
    """What is assigned to a name in a class or a module."""
    for node in body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return value_of(node)
    return None


def value_of(node: ast.stmt) -> ast.expr | None:
    """What a statement assigns."""
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
