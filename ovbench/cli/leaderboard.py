"""``ovbench leaderboard``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def leaderboard(
    runs: Annotated[
        list[Path] | None, typer.Argument(help="Run directories, or folders of them.")
    ] = None,
    format: Annotated[Literal["markdown"], typer.Option("--format")] = "markdown",
    reported: Annotated[
        bool, typer.Option("--reported", help="The figures that papers print, instead of runs.")
    ] = False,
) -> None:
    """Rank results; runs under different conditions get tables of their own."""
    from ovbench.errors import UsageError

    if reported == bool(runs):
        raise UsageError("give either run directories or --reported")
    if reported:
        from ovbench.leaderboards.reported_markdown import reported_markdown

        print(reported_markdown(), end="")
        return
    from ovbench.leaderboards.markdown import to_markdown
    from ovbench.leaderboards.table import boards, find_results

    print(to_markdown(boards(find_results(runs or []))), end="")
