"""Which code makes what is kept: what it made before it was changed is made again."""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import ovbench
from ovbench.harness.files.regular import regular

_ROOT = Path(ovbench.__file__).parent
_PARTS = ("adapters", "models", "refine")
"""Of the package, where numbers are made."""
_NAMES_ONLY = _ROOT / "models" / "weights"
"""Where weights are found, which count by what they hold."""

_IMPORT = re.compile(
    rb"(?m)^[ \t]*(?:from[ \t]+(ovbench[\w.]*)[ \t]+import[ \t]+(\([^)]*\)|[^\n#]*)"
    rb"|import[ \t]+(ovbench[\w.]*))"
)


def code_of(*builds: Callable[..., Any]) -> str:
    """A digest of the modules in the folders of functions' own, and of what these import.

    Followed are imports of this package's adapters, models and refinement, one after the other.
    """
    codes = [getattr(inspect.unwrap(build), "__code__", None) for build in builds]
    folders = {Path(code.co_filename).parent for code in codes if code is not None}
    return _digest(tuple(sorted(folders)))


@cache
def _digest(folders: tuple[Path, ...]) -> str:
    """Once per process, which has imported what there was."""
    digest = hashlib.sha256()
    for module in sorted(_followed(path for folder in folders for path in folder.glob("*.py"))):
        inside = module.is_relative_to(_ROOT)
        name = module.relative_to(_ROOT).as_posix() if inside else module.name
        digest.update(f"\n{name}\n".encode() + _text(module))
    return digest.hexdigest() if folders else ""


def _followed(modules: Iterable[Path]) -> set[Path]:
    waiting, found = list(modules), set[Path]()
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += _imported(module)
    return found


@cache
def _imported(module: Path) -> frozenset[Path]:
    """The modules that one imports, of those that count."""
    return frozenset(path for name in _names(_text(module)) for path in _files(name))


def _names(text: bytes) -> Iterator[str]:
    """Dotted names that may be modules."""
    for origin, names, plain in _IMPORT.findall(text):
        if plain:
            yield plain.decode()
            continue
        yield origin.decode()
        for name in re.findall(rb"\w+", names):
            yield f"{origin.decode()}.{name.decode()}"


def _files(name: str) -> Iterator[Path]:
    place = _ROOT.joinpath(*name.split(".")[1:])
    if place == _ROOT or place.relative_to(_ROOT).parts[0] not in _PARTS:
        return
    if place.is_relative_to(_NAMES_ONLY):
        return
    for path in (place.with_suffix(".py"), place / "__init__.py"):
        if path.is_file():
            yield path


@cache
def _text(module: Path) -> bytes:
    with regular(module).open("rb") as file:
        return file.read()
