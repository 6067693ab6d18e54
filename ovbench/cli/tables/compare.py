"""``ovbench compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ovbench.cli.shared import options as opt

if TYPE_CHECKING:
    from rich.table import Table

    from ovbench.leaderboards.gates.comparison import Comparison, Difference


def compare(
    first: Annotated[Path, typer.Argument(metavar="RUN_A", help="A run directory.")],
    second: Annotated[Path, typer.Argument(metavar="RUN_B", help="Another one.")],
    as_json: opt.AsJson = False,
) -> None:
    """Say whether one run is better than another, by a paired jackknife over their images."""
    from dataclasses import asdict

    from ovbench.cli.shared.console import say, say_json, show
    from ovbench.leaderboards.gates.comparison import compare as compare_runs

    found = compare_runs(first, second)
    if as_json:
        say_json({**asdict(found), "sentence": found.sentence()})
        return
    show(_table(found))
    say("The p of a class is its own: of 20 classes that are alike, one has p < 0.05.")
    for warning in found.warnings:
        say(f"note: {warning}")
    say(found.sentence())


def _table(found: Comparison) -> Table:
    """mIoU, then the classes with the largest differences first."""
    from rich.table import Table

    table = Table("", "A", "B", "A − B", "95 % interval", "p")
    for column in table.columns[1:]:
        column.justify = "right"
    table.add_row(*_row(found.overall), end_section=True)
    for one in sorted(found.per_class, key=lambda d: -abs(d.effect or 0)):
        table.add_row(*_row(one))
    return table


def _row(one: Difference) -> tuple[str, ...]:
    from ovbench.leaderboards.gates.comparison import p_words
    from ovbench.leaderboards.tables.numbers import percent

    interval = "–" if one.low is None else f"{percent(one.low)} to {percent(one.high)}"
    p = "–" if one.p is None else p_words(one.p).removeprefix("= ")
    return one.name, percent(one.a), percent(one.b), percent(one.effect), interval, p
