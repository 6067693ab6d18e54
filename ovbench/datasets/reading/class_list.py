"""``classes.txt`` of a user's own folder: names, and what stands for each class in a mask.

One line per class, divided into names as in every file of class names. Before the names may stand
the value that the class has in index masks, or its colour in RGB masks::

    background                 7: cat, kitten             64 128 0: cat, kitten
    cat, kitten                9: dog                     192 0 128: dog
    dog                        4: (ignore)                255 255 255: (ignore)
    255: (ignore)

Without either, a class's value is the position of its line, counted from 0; no blank line may lie
between such lines, as it might count or not. What no line names must not occur in a mask: 255, too,
is void only where a line says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from ovbench.datasets.names.lines import content_lines, parsed_line, read_text
from ovbench.errors import UsageError

VOID = 255
"""Label of pixels that are never scored."""


Key: TypeAlias = int | tuple[int, int, int]
"""What stands for a class in a mask: a value or a colour."""

_IGNORE = "(ignore)"
_KEYED = re.compile(r"\s*(\d+)(?:[\s,]+(\d+)[\s,]+(\d+))?\s*:(.*)")
_LIKE_A_KEY = re.compile(r"([-+.,\s\d]*\d[-+.,\s\d]*):")


@dataclass(frozen=True, slots=True)
class ClassList:
    """The classes of a folder.

    Attributes:
        source: the file.
        names: its text without keys, every name in the line it has in the file.
        keys: of every class, in order.
        ignored: keys of what is not scored.
        background: whether the first class is the background.
    """

    source: Path
    names: str
    keys: tuple[Key, ...]
    ignored: tuple[Key, ...]
    background: bool

    @property
    def colours(self) -> list[tuple[int, int, int]]:
        """The colours of RGB masks, classes first; none for index masks."""
        return [key for key in (*self.keys, *self.ignored) if isinstance(key, tuple)]


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    key: Key
    name: str

    def __str__(self) -> str:
        return str(self.key) if isinstance(self.key, int) else " ".join(map(str, self.key))


def read_class_list(path: Path) -> ClassList:
    """Read ``classes.txt``.

    Raises:
        UsageError: missing, or wrong; names the line.
    """
    try:
        text = read_text(path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from None
    lines = list(_lines(text, str(path)))
    classes = [line for line in lines if line.name != _IGNORE]
    if not classes:
        raise UsageError(f"{path}: names no classes")
    _check(path, lines)
    first = parsed_line(classes[0].number, classes[0].name, str(path))
    names = [""] * (text.count("\n") + 1)
    for line in classes:
        names[line.number - 1] = line.name
    return ClassList(
        path,
        "\n".join(names),
        tuple(line.key for line in classes),
        tuple(line.key for line in lines if line.name == _IGNORE),
        first.name.casefold() == "background",
    )


def _lines(text: str, source: str) -> Iterator[_Line]:
    rows, first, blank = text.split("\n"), None, None
    for position, (number, line) in enumerate(content_lines(text, source)):
        first = first or number
        blank = blank or next((n for n in range(first, number) if not rows[n - 1].strip()), None)
        where = f"{source}, line {number}"
        if found := _KEYED.fullmatch(line):
            red, *rest, name = found.groups()
            key: Key = (int(red), int(rest[0]), int(rest[1])) if rest[0] else int(red)
            yield _Line(number, key, name.strip())
        elif found := _LIKE_A_KEY.match(line):
            raise UsageError(
                f"{where}: {found[1].strip()!r} is neither a value, as in '7: cat', nor a colour, "
                "as in '64 128 0: cat'"
            )
        elif blank:
            raise UsageError(
                f"{where}: line {blank} is blank, and whether it counts nobody can tell; remove "
                "it, or begin each line with its value: '7: cat'"
            )
        else:
            yield _Line(number, position, line.strip())


def _check(path: Path, lines: Sequence[_Line]) -> None:
    if len(lines) > VOID:
        raise UsageError(
            f"{path}: {len(lines)} classes; a folder has room for {VOID}, as its labels are 8-bit"
        )
    seen: dict[Key, int] = {}
    for line in lines:
        where = f"{path}, line {line.number}"
        if isinstance(line.key, tuple) != isinstance(lines[0].key, tuple):
            raise UsageError(f"{where}: either every line begins with a colour or none does")
        if isinstance(line.key, tuple) and max(line.key) > 0xFF:
            raise UsageError(f"{where}: {line} is no colour; masks of colours have 8 bits")
        if isinstance(line.key, int) and line.key > 0xFFFF:
            raise UsageError(f"{where}: {line} does not fit 16 bits; no index mask has more")
        if not line.name:
            raise UsageError(f"{where}: {line} has no name")
        if line.key in seen:
            raise UsageError(f"{where}: {line} already stands for line {seen[line.key]}")
        seen[line.key] = line.number
