"""The lines of class-name files, and the names between their commas."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ovbench.errors import UsageError
from ovbench.harness.files.regular import regular

# An equals sign that stands alone: a class may be called "=1+1".
_EQUALS = r"(?:^|\s)=(?:\s|$)"
_QUOTED = re.compile(rf'((?:^|[,;]|{_EQUALS})\s*)"([^"]*)"(?=\s*(?:[,;]|$)|{_EQUALS})')
# What divides a line means nothing in quotation marks. These stand for it: no line holds them.
_ASIDE = str.maketrans(",;=", "\0\1\2")
_BACK = str.maketrans("\0\1\2", ",;=")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file: its number, the queries, and the name for tables if it has its own."""

    number: int
    queries: tuple[str, ...]
    title: str | None

    @property
    def name(self) -> str:
        """The name for tables."""
        return self.queries[0] if self.title is None else self.title


def read_text(path: Path) -> str:
    """A text file that a user wrote, with or without a byte-order mark.

    Raises:
        FileNotFoundError: missing; only the caller knows what to advise.
        UsageError: not text or not readable; names the file.
    """
    try:
        return regular(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UsageError(f"{path}, line {line}: not UTF-8 text") from None
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from None


def content_lines(text: str, source: str) -> Iterator[tuple[int, str]]:
    """The lines of a list of names that are neither blank nor comments, with their numbers.

    Raises:
        UsageError: a line that may be a comment or a name, or one that tables cannot show.
    """
    for number, line in enumerate(text.split("\n"), start=1):
        if not (stripped := line.strip()):
            continue
        where = f"{source}, line {number}"
        if stripped.startswith("#"):
            if stripped.lstrip("#")[:1].strip():
                raise UsageError(
                    f"{where}: begins with '#' and no blank behind it; a comment has one "
                    "('# …'), and no name begins with '#'"
                )
            continue
        for character in stripped.replace("\t", " "):
            if unicodedata.category(character) in ("Cc", "Zl", "Zp"):
                raise UsageError(
                    f"{where}: holds the control character U+{ord(character):04X}; remove it"
                )
        yield number, line


def parsed_lines(text: str, source: str) -> list[Line]:
    """What the lines of a file ask for.

    Raises:
        UsageError: see :func:`content_lines` and :func:`parsed_line`.
    """
    return [parsed_line(number, line, source) for number, line in content_lines(text, source)]


def parsed_line(number: int, line: str, source: str) -> Line:
    """What a line asks for.

    Raises:
        UsageError: an empty name, or a quotation mark without its second.
    """
    where = f"{source}, line {number}"
    *before, texts = re.split(_EQUALS, _set_aside(line), maxsplit=1)
    title = _put_back(before[0], where) if before else None
    queries = tuple(_put_back(part, where) for part in re.split("[,;]", texts))
    if not all(queries) or title == "":
        raise UsageError(f"{where}: an empty name beside a comma or semicolon")
    return Line(number, queries, title)


def names_between(text: str, where: str) -> list[str]:
    """The names between commas or semicolons, as a line of a file has them; empty ones too.

    Raises:
        UsageError: a quotation mark without its second.
    """
    return [_put_back(part, where) for part in re.split("[,;]", _set_aside(text))]


def _set_aside(text: str) -> str:
    return _QUOTED.sub(lambda found: found[1] + found[2].translate(_ASIDE), text)


def _put_back(name: str, where: str) -> str:
    if (name := name.strip()).startswith('"'):
        raise UsageError(
            f"{where}: {name.translate(_BACK)} begins with a quotation mark and does not end with "
            'one; a name that holds commas is written "people, person"'
        )
    return name.translate(_BACK).strip()
