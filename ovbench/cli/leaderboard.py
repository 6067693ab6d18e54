"""``ovbench leaderboard``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def leaderboard(
    runs: Annotated[
        list[Path] | None, typer.Argument(help="Run directories, or folders of them.")
    ] = None,
    format: Annotated[
        Literal["markdown", "html", "latex", "csv", "json"], typer.Option("--format", "-f")
    ] = "markdown",
    dataset: Annotated[
        list[str] | None, typer.Option("--dataset", "-d", help="Only this one; repeatable.")
    ] = None,
    with_reported: Annotated[
        bool, typer.Option("--with-reported", help="Add what papers print for a benchmark.")
    ] = False,
    reported: Annotated[
        bool, typer.Option("--reported", help="The figures that papers print, instead of runs.")
    ] = False,
    update: Annotated[
        Path | None,
        typer.Option("--update", help="Put the tables into this document, between its markers."),
    ] = None,
) -> None:
    """Rank results; runs under different conditions get tables of their own."""
    from ovbench.cli.console import document, say
    from ovbench.errors import UsageError

    if reported == bool(runs):
        raise UsageError("give either run directories or --reported")
    if (reported or update) and format != "markdown":
        raise UsageError(f"--format {format}: --reported and --update are Markdown")
    if reported and (dataset or with_reported):
        raise UsageError("--reported prints every benchmark; leave out the other options")
    text = _reported() if reported else _measured(runs or [], format, dataset or [], with_reported)
    if update is None:
        document(text)
        return
    from ovbench.leaderboards.update import put_between_markers

    say(f"{update}: {'updated' if put_between_markers(update, text) else 'up to date'}")


def _reported() -> str:
    from ovbench.leaderboards.reported_markdown import reported_markdown

    return reported_markdown()


def _measured(runs: list[Path], format: str, datasets: list[str], with_reported: bool) -> str:
    from ovbench.leaderboards.publish import publish
    from ovbench.leaderboards.table import find_results, of_datasets

    return publish(of_datasets(find_results(runs), datasets), format, with_reported=with_reported)
