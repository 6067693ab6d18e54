"""Put a generated table into a document, between its markers."""

from __future__ import annotations

from pathlib import Path

from ovbench.errors import UsageError
from ovbench.harness.atomic import replacing

BEGIN = "<!-- leaderboard -->"
END = "<!-- /leaderboard -->"


def put_between_markers(path: Path, text: str) -> bool:
    """Replace what stands between :data:`BEGIN` and :data:`END`; the rest is left alone.

    Returns:
        Whether the file changed.

    Raises:
        UsageError: the file cannot be read or written, or its markers are missing or doubled.
    """
    try:
        old = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from None
    before, _, rest = old.partition(BEGIN)
    _, _, after = rest.partition(END)
    if old.count(BEGIN) != 1 or old.count(END) != 1 or END in before:
        raise UsageError(f"{path}: put one line {BEGIN} and below it one line {END} into it")
    new = f"{before}{BEGIN}\n\n{text.strip()}\n\n{END}{after}"
    if new == old:
        return False
    try:
        with replacing(path) as temporary:
            temporary.write_text(new, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from None
    return True
