"""Where tables are printed, and pictures put."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from PIL.Image import Image


def console() -> Console:
    """stdout, wide enough for a table when it is a pipe or a file."""
    out = Console()
    return out if out.is_terminal else Console(width=120)


def save_picture(picture: Image, path: Path) -> None:
    """Write a PNG and print where.

    Raises:
        UsageError: it cannot be written.
    """
    from ovbench.errors import UsageError
    from ovbench.harness.atomic import replacing

    try:
        with replacing(path) as temporary:
            picture.save(temporary, "PNG")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror or error})") from None
    print(path)
