"""Class-name files: what a method is asked for, as an explicit input.

The format is the one the field has on disk: one line per class, synonyms separated by commas
or semicolons, and the background's queries in the first line of a file that has one line
more than there are classes. Blank lines and comments, ``# …``, are left out.

Some papers ask for two classes by one text. Such a class has a name of its own for tables in
front, ``screen door = screen``; no method is asked for that.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from importlib.resources import files
from importlib.resources.abc import Traversable
from itertools import takewhile
from pathlib import Path

from ovbench.errors import UsageError
from ovbench.harness.contract.checks.twins import fault_in_names
from ovbench.harness.contract.vocabulary import Background, ClassQuery, Kind, Vocabulary
from ovbench.harness.files.regular import regular


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file: its number, the queries, and the name for tables if it has its own."""

    number: int
    queries: tuple[str, ...]
    title: str | None


def read_vocabulary(
    benchmark: str,
    names: str | Path | None,
    *,
    num_classes: int,
    background: bool,
    kinds: Sequence[Kind] | None = None,
) -> Vocabulary:
    """The vocabulary of a benchmark under a set of names.

    Args:
        benchmark: whose packaged sets to look in.
        names: a set's name, the path of a file, or None for the set "plain".
        num_classes: without the background.
        background: whether background is a label. If not, the file's background line is not
            used; if so and the file has none, the query is "background".
        kinds: of every class, where the benchmark says.

    Raises:
        UsageError: no such set or file, or it does not fit the benchmark.
    """
    source, text = _read(benchmark, "plain" if names is None else names)
    packaged = names is None or str(names) in available_sets(benchmark)
    vocabulary = parse_vocabulary(
        text,
        source,
        benchmark,
        num_classes=num_classes,
        background=background,
        kinds=kinds,
        # What is published is asked for as it is.
        ambiguous=packaged,
    )
    # A message says where a file lies; a record knows it by its content.
    return vocabulary if packaged else replace(vocabulary, source=Path(source).name)


def parse_vocabulary(
    text: str,
    source: str,
    benchmark: str,
    *,
    num_classes: int,
    background: bool,
    kinds: Sequence[Kind] | None = None,
    ambiguous: bool = False,
) -> Vocabulary:
    """The vocabulary in a class-name file's text; see :func:`read_vocabulary`.

    Args:
        source: where the text is from, for the record and for messages.
        ambiguous: whether one text may stand for several classes.

    Raises:
        UsageError: it does not fit the benchmark.
    """
    background_lines, class_lines = _divide(_lines(text, source), num_classes, benchmark, source)
    described = [Background(line.queries) for line in background_lines] or [Background()]
    behind = described[0] if background else None
    of_kind: Sequence[Kind | None] = kinds or [None] * num_classes
    classes = tuple(
        ClassQuery(line.queries[0], line.queries[1:], kind, title=line.title)
        for line, kind in zip(class_lines, of_kind, strict=True)
    )
    _refuse_twins(classes, class_lines, behind, source, ambiguous)
    return Vocabulary(classes, behind, source, ambiguous)


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


def available_sets(benchmark: str) -> list[str]:
    """The names of a benchmark's packaged sets."""
    folder = _folder(benchmark)
    if not folder.is_dir():
        return []
    return sorted(f.name.removesuffix(".txt") for f in folder.iterdir() if f.name.endswith(".txt"))


def describe_set(benchmark: str, name: str) -> tuple[int, str]:
    """How many text queries a packaged set has, and where its file says it comes from."""
    text = (_folder(benchmark) / f"{name}.txt").read_text(encoding="utf-8")
    head = takewhile(lambda line: line.startswith("#"), text.splitlines())
    queries = sum(len(line.queries) for line in _lines(text, name))
    return queries, " ".join(line.removeprefix("#").strip() for line in head)


def _folder(benchmark: str) -> Traversable:
    return files("ovbench.datasets") / "names" / benchmark


def _read(benchmark: str, names: str | Path) -> tuple[str, str]:
    """The source to be recorded, and the text."""
    sets = available_sets(benchmark)
    if str(names) in sets:
        packaged = _folder(benchmark) / f"{names}.txt"
        return f"{benchmark}/{names}", packaged.read_text(encoding="utf-8")
    try:
        return str(names), read_text(Path(names))
    except FileNotFoundError:
        close = get_close_matches(str(names), sets, n=1)
        mean = f"did you mean {close[0]!r}? " if close else ""
        raise UsageError(
            f"{names}: neither a file nor a set of names of {benchmark}; "
            f"{mean}there are: {', '.join(sets) or 'none'}"
        ) from None


def _lines(text: str, source: str) -> list[Line]:
    found = []
    for number, line in content_lines(text, source):
        # An equals sign that stands alone: a class may be called "=1+1".
        *before, texts = re.split(r"(?:^|\s)=(?:\s|$)", line, maxsplit=1)
        title = before[0].strip() if before else None
        queries = tuple(part.strip() for part in re.split("[,;]", texts))
        if not all(queries) or title == "":
            raise UsageError(f"{source}, line {number}: an empty name beside a comma or semicolon")
        found.append(Line(number, queries, title))
    return found


def _divide(
    lines: list[Line], num_classes: int, benchmark: str, source: str
) -> tuple[list[Line], list[Line]]:
    """The background's line, if there is one, and the classes' lines."""
    extra = len(lines) - num_classes
    if extra not in (0, 1):
        raise UsageError(
            f"{source}: {len(lines)} classes; {benchmark} has {num_classes}, "
            f"or {num_classes + 1} lines with the background's names first"
        )
    return lines[:extra], lines[extra:]


def _refuse_twins(
    classes: Sequence[ClassQuery],
    lines: Sequence[Line],
    background: Background | None,
    source: str,
    ambiguous: bool,
) -> None:
    """What a vocabulary refuses, said with the lines of the file."""
    places = [f"line {line.number}" for line in lines]
    shown = [query.title or query.name for query in classes]
    texts: list[Sequence[str]] = [query.queries for query in classes]
    if background is not None:
        places, shown, texts = ["the background", *places], [background.name, *shown], [(), *texts]
    if fault := fault_in_names(shown, texts, ambiguous=ambiguous, place=places.__getitem__):
        raise UsageError(f"{source}, {fault}")
