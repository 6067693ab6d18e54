"""``ovbench leaderboard``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def leaderboard(
    runs: Annotated[list[Path], typer.Argument(help="Run directories, or folders of them.")],
    format: Annotated[Literal["markdown"], typer.Option("--format")] = "markdown",
) -> None:
    """Rank results; runs under different conditions get tables of their own."""
    from ovbench.leaderboards.markdown import to_markdown
    from ovbench.leaderboards.table import boards, find_results

    print(to_markdown(boards(find_results(runs))), end="")
