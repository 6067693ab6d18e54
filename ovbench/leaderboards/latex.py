"""Sheets as LaTeX, for papers: needs ``\\usepackage{booktabs}``."""

from __future__ import annotations

from collections.abc import Sequence

from ovbench.leaderboards.sheet import Cell, Sheet

_ESCAPES = str.maketrans(
    {
        **{c: f"\\{c}" for c in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "–": "--",
        "±": r"$\pm$",
        "−": "$-$",
        "Δ": r"$\Delta$",
        "×": r"$\times$",
        "σ": r"$\sigma$",
    }
)


def to_latex(sheets: Sequence[Sheet]) -> str:
    """One ``table`` per sheet: the best bold, the second best underlined."""
    return "\n\n".join(map(_table, sheets)) + "\n"


def _table(sheet: Sheet) -> str:
    heads = " & ".join(map(_escaped, (column.title for column in sheet.columns)))
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_escaped(sheet.title)}}}",
        rf"\begin{{tabular}}{{{''.join('r' if c.numeric else 'l' for c in sheet.columns)}}}",
        r"\toprule",
        rf"{heads} \\",
        r"\midrule",
        *map(_row, sheet.rows),
    ]
    if sheet.beside:
        lines += [r"\midrule", *map(_row, sheet.beside)]
    lines += [r"\bottomrule", r"\end{tabular}"]
    if sheet.notes:
        lines.append(r"\par\smallskip\footnotesize\raggedright")
    for index, note in enumerate(sheet.notes, start=1):
        lines.append(rf"\textsuperscript{{{index}}} {_escaped(note)}\\")
    return "\n".join([*lines, r"\end{table}"])


def _row(cells: Sequence[Cell]) -> str:
    return rf"{' & '.join(map(_cell, cells))} \\"


def _cell(cell: Cell) -> str:
    text = _escaped(cell.text)
    if cell.verbatim:
        text = rf"\texttt{{{text}}}"
    if cell.place is not None:
        text = rf"\{'textbf' if cell.place == 1 else 'underline'}{{{text}}}"
    numbers = ",".join(map(str, cell.notes))
    return text + (rf"\textsuperscript{{{numbers}}}" if numbers else "")


def _escaped(text: str) -> str:
    return text.translate(_ESCAPES)
