"""``ovbench leaderboard``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class FormatChoice(StrEnum):
    """Values of ``--format``."""

    MARKDOWN = "markdown"


def leaderboard(
    runs: Annotated[list[Path], typer.Argument(help="Run directories, or folders of them.")],
    format: Annotated[FormatChoice, typer.Option("--format")] = FormatChoice.MARKDOWN,
) -> None:
    """Rank results; runs under different conditions get tables of their own."""
    from ovbench.leaderboards.markdown import to_markdown
    from ovbench.leaderboards.table import boards, find_results

    print(to_markdown(boards(find_results(runs))), end="")
