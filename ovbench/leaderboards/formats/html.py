"""Sheets as one HTML page that needs no other file."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ovbench.leaderboards.tables.sheet import Cell, Column, Sheet
from ovbench.text import visible

_HEAD = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Leaderboards</title>
<style>
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif }
body { margin: 2rem auto; max-width: 100rem; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2.5rem }
.scroll { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap }
th, td { padding: .3rem .7rem; text-align: left }
th { border-bottom: 2px solid; font-weight: 600; vertical-align: bottom }
td { border-bottom: 1px solid color-mix(in srgb, currentColor 18%, transparent) }
.n { text-align: right }
tbody + tbody td { color: color-mix(in srgb, currentColor 65%, transparent) }
u { text-underline-offset: .2em }
ol { font-size: .9rem }
</style>
</head>
<body>
<h1>Leaderboards</h1>
"""


def to_html(sheets: Sequence[Sheet]) -> str:
    """One section per sheet: the best bold, the second best underlined."""
    return _HEAD + "\n".join(map(_section, sheets)) + "\n</body>\n</html>\n"


def _section(sheet: Sheet) -> str:
    heads = "".join(f"<th{_side(c)}>{_escaped(c.title)}</th>" for c in sheet.columns)
    lines = [
        f"<section>\n<h2>{_escaped(sheet.title)}</h2>",
        f'<div class="scroll"><table>\n<thead><tr>{heads}</tr></thead>',
        *(_body(sheet, rows) for rows in (sheet.rows, sheet.beside) if rows),
        "</table></div>",
    ]
    if sheet.notes:
        lines += ["<ol>", *(f"<li>{_escaped(note)}</li>" for note in sheet.notes), "</ol>"]
    return "\n".join([*lines, "</section>"])


def _body(sheet: Sheet, rows: Sequence[Sequence[Cell]]) -> str:
    lines = (
        "".join(
            f"<td{_side(column)}>{_cell(sheet, cell)}</td>"
            for column, cell in zip(sheet.columns, row, strict=True)
        )
        for row in rows
    )
    return "<tbody>\n" + "\n".join(f"<tr>{line}</tr>" for line in lines) + "\n</tbody>"


def _escaped(text: str) -> str:
    return escape(visible(text))


def _cell(sheet: Sheet, cell: Cell) -> str:
    text = _escaped(cell.text)
    if cell.verbatim and text:
        text = f"<code>{text}</code>"
    if cell.place is not None:
        text = f"<b>{text}</b>" if cell.place == 1 else f"<u>{text}</u>"
    marks = sheet.marks(cell)
    return text + (f"<sup>{marks}</sup>" if marks else "")


def _side(column: Column) -> str:
    return ' class="n"' if column.numeric else ""
