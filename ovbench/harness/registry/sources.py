"""Which source a number rests on: digests of the code that answers.

A package is known by its source files as they lie there, whether it is released, installed
editable or being edited. A class that is given from Python is known by the files of its module or
package and by what was compiled from them, with the values that its functions close over.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import FunctionType

import ovbench
from ovbench.harness.files.regular import regular
from ovbench.harness.registry.compiled import compiled_digest
from ovbench.harness.registry.names import DATASETS, FILTERS, METHODS, Entry

SUFFIXES = (
    *(".py", ".pyx", ".c", ".cc", ".cpp", ".cu", ".cuh", ".h", ".hpp"),
    *(".json", ".yaml", ".yml", ".toml"),
)
"""Of the files of a package that can move a number."""

_IMPORT = re.compile(rb"(?m)^ *(?:from|import) +(\w+)")
_INSTALLED = ("site-packages", "dist-packages")


def code_of(*things: object) -> dict[str, str]:
    """Whose code answers, and its digest.

    Args:
        things: objects of classes that are registered or not, such as a method and a filter, or
            classes, of which no function counts that an object of theirs was given.

    Returns:
        By package, or by class where it is none of an installed plugin's, SHA-256 as hex;
        ovbench's own is always among them.
    """
    found = {"ovbench": _own_digest()}
    for thing in things:
        given = thing if isinstance(thing, type) else type(thing)
        found.update(_class_code(given))
        if _top(given) not in {"ovbench", *_plugins()}:
            compiled = compiled_digest(thing, is_strange)
            found[_name(given)] = _joined([found.get(_name(given), ""), compiled])
    return found


def code_of_entry(entry: Entry) -> dict[str, str]:
    """As :func:`code_of`, of the plugin that provides a registered name, if it is imported."""
    place = _place(entry.target.partition(":")[0])
    known = entry.package == "ovbench" or place is None
    return {} if known or place is None else {entry.package: _package_digest(place)}


def plugins_in(code: Iterable[str]) -> tuple[str, ...]:
    """Those keys of :func:`code_of` that are installed packages beside ovbench."""
    return tuple(sorted(set(_plugins().values()) & set(code)))


@cache
def _own_digest() -> str:
    return _package_digest(Path(ovbench.__file__).parent)


@cache
def _class_code(given: type) -> Mapping[str, str]:
    """Of the files that hold a class and those it is derived from.

    Once per class: what was imported stays what it was, whatever becomes of the files.
    """
    found = {}
    for base in given.__mro__:
        place = _place(base.__module__)
        if place is None or (base is not given and not is_strange(base)):
            continue
        if (top := _top(base)) in _plugins():
            found[_plugins()[top]] = _package_digest(place)
        elif top != "ovbench":
            found[_name(given)] = _joined([found.get(_name(given), ""), _package_digest(place)])
    return found


def is_strange(given: type | FunctionType) -> bool:
    """Whether it is neither Python's, nor ovbench's, nor an installed package's."""
    top = _top(given)
    if top in {"builtins", "ovbench", *sys.stdlib_module_names, *_plugins()}:
        return False
    place = _place(given.__module__)
    return top == "__main__" or place is None or not _is_installed(place)


def _name(given: type) -> str:
    return f"{given.__module__}.{given.__qualname__}"


def _top(given: type | FunctionType) -> str:
    return given.__module__.partition(".")[0]


@cache
def _plugins() -> Mapping[str, str]:
    """The installed packages of methods, filters and datasets, by the module they import as."""
    return {
        entry.target.partition(":")[0].partition(".")[0]: entry.package
        for registry in (METHODS, FILTERS, DATASETS)
        for entry in registry.entries.values()
        if entry.package != "ovbench"
    }


def _place(module: str) -> Path | None:
    """The folder of the outermost package that a module lies in, or its file."""
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        found = sys.modules.get(".".join(parts[:end]))
        # A namespace has no file: packages of several owners lie in it.
        if file := getattr(found, "__file__", None):
            path = Path(file)
            return path.parent if path.name == "__init__.py" else path
    return None


def _is_installed(place: Path) -> bool:
    return any(part in _INSTALLED for part in place.parts)


def _package_digest(place: Path) -> str:
    """Of a package's files, or a module's, and of the neighbours that are imported from them."""
    waiting, seen, digests = [place], {place}, []
    while waiting:
        home = waiting.pop()
        imported: set[bytes] = set()
        for path, name in _source_files(home):
            with suppress(OSError), regular(Path(path)).open("rb") as file:
                text = file.read()
                digests.append(f"{name} {hashlib.sha256(text).hexdigest()}")
                imported.update(_IMPORT.findall(text))
        if not _is_installed(home):
            waiting += (fresh := _neighbours(home.parent, imported) - seen)
            seen |= fresh
    return _joined(sorted(digests))


def _source_files(place: Path) -> Iterator[tuple[str, str]]:
    """The path of every file, and its name wherever the package lies."""
    if place.is_file():
        yield str(place), place.name
        return
    above = len(str(place.parent)) + 1
    for folder, folders, names in os.walk(place):
        folders[:] = [name for name in folders if name[0] != "." and name != "__pycache__"]
        for path in (f"{folder}/{name}" for name in names if name.endswith(SUFFIXES)):
            yield path, path[above:].replace(os.sep, "/")


def _neighbours(folder: Path, imported: Iterable[bytes]) -> set[Path]:
    """What lies beside a module and is imported from it: a script's helpers."""
    found = set()
    for name in map(bytes.decode, imported):
        if (folder / name / "__init__.py").is_file():
            found.add(folder / name)
        elif (folder / f"{name}.py").is_file():
            found.add(folder / f"{name}.py")
    return found


def _joined(digests: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()
