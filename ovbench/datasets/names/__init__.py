"""Class-name files: what a method is asked for, as an explicit input.

The format is the one the field has on disk: one line per class, synonyms separated by commas
or semicolons, and the background's queries in the first line of a file that has one line
more than there are classes. Blank lines and comments, ``# …``, are left out.

What a method is asked with as one text although it holds a comma or a semicolon stands in
quotation marks: ``"people, person"``.

Some papers ask for two classes by one text. Such a class has a name of its own for tables in
front, ``screen door = screen``; no method is asked for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from ovbench.datasets.names.lines import Line, parsed_lines, read_text
from ovbench.datasets.names.sets import available_sets, known_as, packaged
from ovbench.errors import UsageError
from ovbench.harness.contract.checks.twins import fault_in_names
from ovbench.harness.contract.vocabulary import Background, ClassQuery, Kind, Vocabulary

__all__ = ["available_sets", "parse_vocabulary", "read_vocabulary"]


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
    name = "plain" if names is None else str(names)
    is_set = name in available_sets(benchmark)
    source, text = packaged(benchmark, name, background) if is_set else _read(benchmark, name)
    vocabulary = parse_vocabulary(
        text,
        source,
        benchmark,
        num_classes=num_classes,
        background=background,
        kinds=kinds,
        # What is published is asked for as it is.
        ambiguous=is_set,
    )
    if is_set:
        return replace(vocabulary, known_as=known_as(benchmark, name, background))
    # A message says where a file lies; a record knows it by its content.
    return replace(vocabulary, source=Path(source).name)


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
    background_lines, class_lines = _divide(
        parsed_lines(text, source), num_classes, benchmark, source
    )
    described = [Background(line.queries) for line in background_lines] or [Background()]
    behind = described[0] if background else None
    of_kind: Sequence[Kind | None] = kinds or [None] * num_classes
    classes = tuple(
        ClassQuery(line.queries[0], line.queries[1:], kind, title=line.title)
        for line, kind in zip(class_lines, of_kind, strict=True)
    )
    _refuse_twins(classes, class_lines, behind, source, ambiguous)
    return Vocabulary(classes, behind, source, ambiguous)


def _read(benchmark: str, path: str) -> tuple[str, str]:
    """The place of a user's file, for messages, and its text."""
    try:
        return path, read_text(Path(path))
    except FileNotFoundError:
        sets = available_sets(benchmark)
        close = get_close_matches(path, sets, n=1)
        mean = f"did you mean {close[0]!r}? " if close else ""
        raise UsageError(
            f"{path}: neither a file nor a set of names of {benchmark}; "
            f"{mean}there are: {', '.join(sets) or 'none'}"
        ) from None


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
