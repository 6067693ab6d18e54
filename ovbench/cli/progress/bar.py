"""How long work looks on a terminal, whatever it is."""

from __future__ import annotations

import sys

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from ovbench.cli.shared.console import PlainConsole, styled


def progress_bar() -> Progress:
    """A bar with count, elapsed and remaining time on stderr."""
    return Progress(
        _Words("description"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        _Words("note"),
        console=PlainConsole(stderr=True),
        # Else a result that goes to a file would come out among the bars.
        redirect_stdout=sys.stdout.isatty(),
    )


class _Words(ProgressColumn):
    """What a task says of itself, as text."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def render(self, task: Task) -> Text:
        words = task.description if self._name == "description" else task.fields["note"]
        return styled(str(words), "")
