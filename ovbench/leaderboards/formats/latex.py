"""Sheets as LaTeX, for papers: needs ``\\usepackage{booktabs,adjustbox}``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from unicodedata import normalize

from ovbench.leaderboards.tables.sheet import Cell, Sheet
from ovbench.text import visible

_ESCAPES = str.maketrans(
    {
        **{c: f"\\{c}" for c in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "[": "{[}",  # behind the end of a row it would be a length
        "]": "{]}",
        "*": "{*}",  # and this would keep a page together
        "–": "--",
        "±": r"$\pm$",
        "−": "$-$",
        "Δ": r"$\Delta$",
        "×": r"$\times$",
        "σ": r"$\sigma$",
    }
)


def to_latex(sheets: Sequence[Sheet]) -> str:
    """One ``table`` per sheet, no wider than the text: the best bold, the second best underlined.

    Each has a label of its own, ``tab:`` and its title.
    """
    tables, used = [], Counter[str]()
    for sheet in sheets:
        name = re.sub(r"[^a-z0-9]+", "-", sheet.title.lower()).strip("-")[:60]
        used[name] += 1
        tables.append(_table(sheet, name if used[name] == 1 else f"{name}-{used[name]}"))
    return "\n\n".join(tables) + "\n"


def _table(sheet: Sheet, name: str) -> str:
    heads = " & ".join(map(_escaped, (column.title for column in sheet.columns)))
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_escaped(sheet.title)}}}",
        rf"\label{{tab:{name}}}",
        r"\begin{adjustbox}{max width=\linewidth}",
        rf"\begin{{tabular}}{{{''.join('r' if c.numeric else 'l' for c in sheet.columns)}}}",
        r"\toprule",
        rf"{heads} \\",
        r"\midrule",
        *(_row(sheet, row) for row in sheet.rows),
    ]
    if sheet.beside:
        lines += [r"\midrule", *(_row(sheet, row) for row in sheet.beside)]
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{adjustbox}"]
    if sheet.notes:
        lines.append(r"\par\smallskip\footnotesize\raggedright")
    for index, note in enumerate(sheet.notes, start=1):
        lines.append(rf"\textsuperscript{{{index}}} {_escaped(note)}\\")
    return "\n".join([*lines, r"\end{table}"])


def _row(sheet: Sheet, cells: Sequence[Cell]) -> str:
    return rf"{' & '.join(_cell(sheet, cell) for cell in cells)} \\"


def _cell(sheet: Sheet, cell: Cell) -> str:
    text = _escaped(cell.text)
    if cell.verbatim:
        text = rf"\texttt{{{text}}}"
    if cell.place is not None:
        text = rf"\{'textbf' if cell.place == 1 else 'underline'}{{{text}}}"
    marks = sheet.marks(cell)
    return text + (rf"\textsuperscript{{{marks}}}" if marks else "")


def _escaped(text: str) -> str:
    # pdfLaTeX has letters with accents, and no accents that are characters of their own, which is
    # how macOS writes file names. Two of these in a row would become one character, such as a dash.
    apart = re.sub(r"([-'`,])(?=\1)", "\\1\0", visible(normalize("NFC", text)))
    return apart.translate(_ESCAPES).replace("\0", "{}")
