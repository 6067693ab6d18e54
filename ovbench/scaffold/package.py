"""Write a package that passes its own tests, for its author to change."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from keyword import iskeyword
from pathlib import Path
from string import Template
from sysconfig import get_path
from tempfile import TemporaryDirectory
from typing import Literal, TypeAlias

from ovbench.errors import UsageError
from ovbench.harness.files.atomic import unwritable
from ovbench.harness.registry.names import DATASETS, METHODS

PackageKind: TypeAlias = Literal["method", "dataset"]

_NAME = re.compile(r"(?=.{1,30}$)[a-z][a-z0-9]*(_[a-z0-9]+)*")
# Windows has no folder of such a name, and a package is for whoever has it.
_DEVICES = re.compile(r"con|prn|aux|nul|(com|lpt)\d")
_TRIED_BY = {
    "method": ("ovbench check {}", "ovbench run --method {} --dataset toyworld"),
    "dataset": ("ovbench datasets verify {}", "ovbench run --method random --dataset {}"),
}


def new_package(kind: PackageKind, name: str, folder: Path) -> list[str]:
    """Write a package with one method or dataset.

    Args:
        name: under which it is registered and imported.
        folder: that is not there yet, or empty.

    Returns:
        The files, relative to the folder.

    Raises:
        UsageError: a name that cannot be taken, or a folder that holds something.
    """
    _refuse_name(kind, name)
    _refuse_folder(folder)
    camel = "".join(part.capitalize() for part in name.split("_"))
    attribute = f"{camel}Method" if kind == "method" else f"open_{name}"
    values = {
        "name": name,
        "kind": kind,
        "camel": camel,
        "package": f"ovbench-{re.sub('_+', '-', name)}",
        "target": f"{name}.{kind}:{attribute}",
        "commands": "\n".join(f"    {line}" for line in commands(kind, name, ".")),
    }
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Whole or not at all: a package that was cut short could not be written again.
        with TemporaryDirectory(dir=folder, prefix=".new-") as place:
            for path, template in _templates(kind):
                file = Path(place, path := path.replace("NAME", name))
                file.parent.mkdir(parents=True, exist_ok=True)
                text = Template(template.read_text(encoding="utf-8")).substitute(values)
                file.write_text(text, encoding="utf-8")
                written.append(path)
            for entry in Path(place).iterdir():
                entry.rename(folder / entry.name)
    except OSError as error:
        raise unwritable(folder, error) from None
    return sorted(written)


def commands(kind: PackageKind, name: str, folder: str) -> list[str]:
    """What installs a package, and tries what it holds.

    Args:
        folder: as a shell reads it.
    """
    tried = [command.format(name) for command in _TRIED_BY[kind]]
    return [f"pip install -e {folder}", *tried, f"python -m pytest {folder}"]


def _templates(kind: PackageKind) -> Iterator[tuple[str, Traversable]]:
    """Where each file belongs, and what it is made of."""
    home = files("ovbench.scaffold") / "templates"
    for top in ("both", kind):
        waiting = [("", home / top)]
        while waiting:
            path, folder = waiting.pop()
            for item in folder.iterdir():
                if item.is_dir():
                    waiting.append((f"{path}{item.name}/", item))
                else:
                    yield path + item.name.removesuffix(".txt"), item


def _refuse_name(kind: PackageKind, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name[:80]!r} is no name for a package: small letters, digits and single _ between "
            "them, a letter first, 30 at most"
        )
    if iskeyword(name):
        raise UsageError(f"{name!r} is a word of Python's own; choose another name")
    if _DEVICES.fullmatch(name):
        raise UsageError(f"{name!r} is a device on Windows; choose another name")
    registry = METHODS if kind == "method" else DATASETS
    if entry := registry.entries.get(name):
        raise UsageError(
            f"the {kind} {name!r} is there already, in package {entry.package}; choose another name"
        )
    if kind == "dataset":
        from ovbench.datasets import ALIASES

        if name in ALIASES:
            raise UsageError(f"{name!r} means {ALIASES[name][0]}; choose another name")
    if name == "tests" or name in sys.stdlib_module_names or _is_module(name):
        raise UsageError(f"{name!r} is imported as something else; choose another name")


def _is_module(name: str) -> bool:
    spec = find_spec(name)
    if spec is None or spec.origin is not None:
        return spec is not None
    # A folder without code, such as the one to be written to, is in nobody's way; one that several
    # installed packages share, such as `google`, would be gone.
    places = {str(Path(place).parent) for place in spec.submodule_search_locations or ()}
    return bool(places & {get_path("purelib"), get_path("platlib")})


def _refuse_folder(folder: Path) -> None:
    try:
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder}: is no folder; name another one by --output")
        if folder.is_dir() and any(folder.iterdir()):
            raise UsageError(f"{folder}: is not empty; name another folder by --output")
    except OSError as error:
        raise unwritable(folder, error) from None
