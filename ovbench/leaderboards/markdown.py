"""Sheets as Markdown, for GitHub."""

from __future__ import annotations

from collections.abc import Sequence

from ovbench.leaderboards.sheet import Cell, Sheet


def to_markdown(sheets: Sequence[Sheet]) -> str:
    """One section per sheet."""
    return "\n\n".join(map(_section, sheets)) + "\n"


def _section(sheet: Sheet) -> str:
    lines = [
        f"### {sheet.title}",
        "",
        _line([column.title for column in sheet.columns]),
        "|" + "|".join(" ---: " if column.numeric else " --- " for column in sheet.columns) + "|",
        *(_line([_cell(cell) for cell in row]) for row in (*sheet.rows, *sheet.beside)),
    ]
    if sheet.notes:
        lines += ["", *(f"<sup>{n}</sup> {note}  " for n, note in enumerate(sheet.notes, start=1))]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(cell: Cell) -> str:
    text = cell.text.replace("|", "\\|")
    if cell.verbatim and text:
        text = f"`{text}`"
    if cell.place is not None:
        text = f"**{text}**" if cell.place == 1 else f"<u>{text}</u>"
    numbers = ",".join(map(str, cell.notes))
    return text + (f" <sup>{numbers}</sup>" if numbers else "")
