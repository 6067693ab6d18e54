"""The reported figures as Markdown, one table per benchmark, as the papers print them."""

from __future__ import annotations

from collections.abc import Sequence

from ovbench.leaderboards.reported.published import (
    Figure,
    cite,
    figure_notes,
    figures,
    papers,
    systems,
)

HEAD = """\
# Reported figures

What papers print, in percent, for comparison with measurements of one's own. They were measured by
many hands under conditions that the papers state in part: names, background rule and resolution
differ from row to row and move results by more than the methods do. A row is not a rank.
"""


def reported_markdown() -> str:
    """The whole document; always the same text."""
    datasets = list(dict.fromkeys((f.dataset, f.metric) for f in figures()))
    sections = [_section(dataset, metric) for dataset, metric in datasets]
    return "\n".join([HEAD, _sources(), *sections])


def _sources() -> str:
    lines = ["| printed in | paper |", "| --- | --- |"]
    lines += [f"| {p.authors}, {p.venue} | {p.title} |" for p in papers().values()]
    return "\n".join(lines) + "\n"


def _section(dataset: str, metric: str) -> str:
    rows = [f for f in figures() if (f.dataset, f.metric) == (dataset, metric)]
    notes: list[str] = []
    lines = [
        f"## {dataset}, {metric}",
        "",
        f"| system | its paper | variant | setting | printed in | {metric} |",
        "| --- | --- | --- | --- | --- | ---: |",
        *(_row(figure, notes) for figure in rows),
        "",
    ]
    lines += [f"<sup>{number}</sup> {note}  " for number, note in enumerate(notes, start=1)]
    return "\n".join(lines) + ("\n" if notes else "")


def _row(figure: Figure, notes: list[str]) -> str:
    system = systems()[figure.method]
    value = f"{figure.value:.1f}" + (f" ± {figure.std:.1f}" if figure.std is not None else "")
    cells = [
        figure.method + _marks(figure_notes(figure), notes),
        f"{system.authors}, {system.venue}",
        figure.variant,
        figure.setting,
        cite(figure),
        value,
    ]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _marks(told: Sequence[str], notes: list[str]) -> str:
    notes += [note for note in told if note not in notes]
    numbers = ",".join(str(notes.index(note) + 1) for note in told)
    return f" <sup>{numbers}</sup>" if numbers else ""
