"""The one place through which a command prints: text is text, whatever it holds.

Nothing is read as markup or as an emoji's name, and escape sequences are shown. Results go to
stdout, what is told meanwhile to stderr. A command styles its own words by :func:`styled`.
"""

from __future__ import annotations

import codecs
import io
import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ovbench.cli.shared.fitting import fitted
from ovbench.errors import OvbenchError, OwnExit
from ovbench.harness.contract.checks.whole import whole_number
from ovbench.text import visible

if TYPE_CHECKING:
    from PIL.Image import Image

_LOOKS_LIKE = {"–": "-", "−": "-", "×": "x", "±": "+/-", "Δ": "d", "σ": "sd", "…": "...", "·": "-"}
_WIDE_ENOUGH = 120
"""Characters of a line in a pipe or a file."""
_NARROWEST = 10
"""What is said to be narrower is no terminal that anybody reads."""

# As a shell reports a program that was ended by SIGPIPE.
_NOBODY_READS = 141


class PlainConsole(Console):
    """A console to which every string is text: in cells, titles and lines."""

    def render_str(self, text: str, **form: Any) -> Text:
        """See :class:`rich.console.Console`; there is neither markup nor highlighting here."""
        style, justify, overflow = form.get("style", ""), form.get("justify"), form.get("overflow")
        return Text(visible(text), style, justify=justify, overflow=overflow)


def bars_fit() -> bool:
    """Whether stderr is a terminal that can redraw a line; else it gets lines."""
    return sys.stderr.isatty() and PlainConsole(stderr=True).is_interactive


def say(line: object) -> None:
    """Print a line on stdout."""
    document(f"{visible(str(line))}\n")


def say_json(content: Any) -> None:
    """Print a value as JSON on stdout; what a terminal would obey is escaped in it.

    Raises:
        ValueError: a number JSON does not have, such as not-a-number.
    """
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False, default=str)
    document("\n".join(map(_escaped, text.split("\n"))) + "\n")


def show(table: Table) -> None:
    """Print a table on stdout, as wide as ``COLUMNS`` or else wide enough if that is no terminal.

    In a terminal that is narrower than its words every cell has a line of its own.
    """
    out = PlainConsole()
    if not out.is_terminal:
        out.width = whole_number(os.environ.get("COLUMNS", "")) or _WIDE_ENOUGH
    if out.width < _NARROWEST:
        out.width = _WIDE_ENOUGH
    with out.capture() as captured:
        out.print(fitted(table, out))
    document(captured.get())


def styled(text: str, style: str) -> Text:
    """Text in a style, for a cell of a table."""
    return Text(visible(text), style)


def document(text: str) -> None:
    """Print text that is made already, such as a table in HTML, on stdout.

    Raises:
        OvbenchError: stdout cannot be written, such as on a full disk.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        output_lost(error)


def output_lost(error: OSError) -> NoReturn:
    """Stdout cannot be written: end quietly where nobody reads on, else say so.

    Raises:
        OwnExit: the reader has closed the pipe, as ``| head`` does.
        OvbenchError: any other reason.
    """
    with suppress(OSError):  # what is still buffered must not fail once more at the very end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):
        raise OwnExit(_NOBODY_READS) from None
    raise OvbenchError(f"stdout cannot be written ({error.strerror})") from None


def tell(line: object) -> None:
    """Print a line on stderr."""
    with suppress(OSError):
        print(visible(str(line)), file=sys.stderr, flush=True)


def degrade() -> None:
    """Let stdout and stderr replace what their encoding does not have, instead of failing."""
    codecs.register_error("ovbench.degrade", _degraded)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="ovbench.degrade")


def save_picture(picture: Image, path: Path) -> None:
    """Write a PNG and print where.

    Raises:
        OvbenchError: it cannot be written.
    """
    from ovbench.harness.files.atomic import replacing

    with replacing(path) as temporary:
        picture.save(temporary, "PNG")
    say(path)


def _escaped(line: str) -> str:
    """A line of JSON in which what acts is written as JSON writes it."""
    if line.isprintable():
        return line
    return "".join(c if visible(c) == c else json.dumps(c)[1:-1] for c in line)


def _degraded(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return _alike(error.object[error.start]), error.start + 1


def _alike(character: str) -> str:
    shown = character.encode("ascii", "backslashreplace").decode("ascii")
    return _LOOKS_LIKE.get(character, shown)
