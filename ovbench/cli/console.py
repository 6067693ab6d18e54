"""Where tables are printed."""

from __future__ import annotations

from rich.console import Console


def console() -> Console:
    """stdout, wide enough for a table when it is a pipe or a file."""
    out = Console()
    return out if out.is_terminal else Console(width=120)
