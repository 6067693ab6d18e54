"""Sheets as Markdown, for GitHub."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ovbench.leaderboards.tables.sheet import Cell, Sheet
from ovbench.text import visible

# What acts wherever it stands; the colon before an address or in an emoji's name; an underscore
# that is not within a word; the number signs that end a heading.
_ACTS = re.compile(
    r"[\\`*\[\]|~]|[&<>$@]|:(?=//|[\w+-]+:)|(?<=www)\.|(?<![^\W_])_+|_+(?![^\W_])|(?<=\s)#(?=#*$)"
)
_ENTITIES = "&<>$@:.#"


def to_markdown(sheets: Sequence[Sheet]) -> str:
    """One section per sheet."""
    return "\n\n".join(map(_section, sheets)) + "\n"


def escaped(text: str) -> str:
    """Text that GitHub shows as it is, on one line."""
    return _ACTS.sub(_harmless, visible(text))


def _section(sheet: Sheet) -> str:
    lines = [
        f"### {escaped(sheet.title)}",
        "",
        _line([escaped(column.title) for column in sheet.columns]),
        "|" + "|".join(" ---: " if column.numeric else " --- " for column in sheet.columns) + "|",
        *(_line([_cell(sheet, cell) for cell in row]) for row in (*sheet.rows, *sheet.beside)),
    ]
    notes = [f"<sup>{n}</sup> {escaped(note)}  " for n, note in enumerate(sheet.notes, start=1)]
    return "\n".join([*lines, *([""] if notes else []), *notes])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(sheet: Sheet, cell: Cell) -> str:
    text = escaped(cell.text)
    if cell.verbatim and text:
        text = f"`{text}`" if text == cell.text else f"<code>{text}</code>"
    if cell.place is not None:
        text = f"**{text}**" if cell.place == 1 else f"<u>{text}</u>"
    marks = sheet.marks(cell)
    return text + (f" <sup>{marks}</sup>" if marks else "")


def _harmless(found: re.Match[str]) -> str:
    if found[0] in _ENTITIES:  # a backslash does not help, or the mark of a document would stay
        return f"&#{ord(found[0])};"
    return "".join(f"\\{character}" for character in found[0])
