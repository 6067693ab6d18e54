"""``ovbench regress``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ovbench.cli.shared import options as opt

if TYPE_CHECKING:
    from rich.table import Table

    from ovbench.leaderboards.gates.verdicts import Verdict

GATE_FAILED = 3


def regress(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="Run directories, or folders of them.")
    ],
    paper: Annotated[
        bool, typer.Option("--paper", help="Hold the runs against what papers report.")
    ] = False,
    expected: Annotated[
        Path | None,
        typer.Option("--expected", metavar="DIR", help="Hold them against pinned values."),
    ] = None,
    pin: Annotated[
        bool, typer.Option("--pin", help="Write the pinned values from these runs instead.")
    ] = False,
    tolerance: Annotated[
        float | None,
        typer.Option(
            "--tolerance",
            min=0,
            help="With --paper: mIoU that may lie between; else the row's own, or 1.",
        ),
    ] = None,
    as_json: opt.AsJson = False,
) -> None:
    """Hold runs against references; exit code 3 where a gate fails.

    --paper fails where a run is off or none could be compared. --expected fails where a value
    moved, a pinned run was not measured, or a run is not pinned.
    """
    from ovbench.cli.shared.console import say
    from ovbench.errors import UsageError
    from ovbench.leaderboards.gates import against_papers, pins
    from ovbench.leaderboards.tables.table import find_results

    if paper == (expected is not None):
        raise UsageError("give either --paper or --expected DIR")
    if pin and expected is None:
        raise UsageError("--pin goes with --expected DIR, where the values are written")
    results = find_results(runs)
    if expected is None:
        verdicts = against_papers.against_papers(results, tolerance)
        _show(verdicts, against_papers.passes(verdicts), as_json)
    elif pin:
        for path in pins.pin(results, expected):
            say(path)
    else:
        verdicts = pins.against_pins(results, pins.read_pins(expected))
        _show(verdicts, pins.passes(verdicts), as_json)


def _show(verdicts: list[Verdict], passed: bool, as_json: bool) -> None:
    from dataclasses import asdict

    from ovbench.cli.shared.console import say, say_json, show
    from ovbench.leaderboards.gates.verdicts import summary

    if as_json:
        rows = [{**asdict(v), "difference": v.difference} for v in verdicts]
        say_json({"passed": passed, "rows": rows})
    else:
        show(_table(verdicts))
        for verdict in verdicts:
            if verdict.details:
                say(f"{verdict.run}: {'; '.join(verdict.details)}")
        say(f"{'passed' if passed else 'FAILED'}: {summary(verdicts)}")
    if not passed:
        raise typer.Exit(GATE_FAILED)


def _table(verdicts: list[Verdict]) -> Table:
    from rich.table import Table

    from ovbench.cli.shared.console import styled
    from ovbench.leaderboards.tables.numbers import percent

    table = Table("run", "reference", "measured", "difference", "tolerance", "verdict", "source")
    for column in table.columns[1:5]:
        column.justify = "right"
    colours = {"within": "green", "off": "red", "unmatched": "yellow"}
    for v in verdicts:
        difference = "–" if v.difference is None else f"{v.difference:+.2f}"
        words = "not compared" if v.finding == "unmatched" else v.finding
        finding = styled(words, colours[v.finding])
        numbers = percent(v.reference), percent(v.measured), difference, percent(v.tolerance)
        table.add_row(v.run, *numbers, finding, v.source)
    return table
