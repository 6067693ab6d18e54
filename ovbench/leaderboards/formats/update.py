"""Put a generated table into a user's document, and change nothing else of it."""

from __future__ import annotations

import shutil
from pathlib import Path

from ovbench.errors import UsageError
from ovbench.harness.files.atomic import replacing
from ovbench.harness.files.regular import regular

BEGIN = "<!-- leaderboard -->"
END = "<!-- /leaderboard -->"


def put_between_markers(path: Path, text: str) -> bool:
    """Replace what stands between :data:`BEGIN` and :data:`END`; the rest is left alone.

    Links, the file's mode, a byte-order mark and the way in which its lines end stay.

    Returns:
        Whether the file changed.

    Raises:
        UsageError: the file cannot be read or written, or its markers are missing or doubled.
    """
    try:
        old = regular(path).read_bytes().decode()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: cannot be read (not UTF-8)") from None
    before, _, rest = old.partition(BEGIN)
    _, _, after = rest.partition(END)
    if old.count(BEGIN) != 1 or old.count(END) != 1 or END in before:
        raise UsageError(f"{path}: put one line {BEGIN} and below it one line {END} into it")
    made = f"{BEGIN}\n\n{text.strip()}\n\n{END}"
    if rest.startswith("\r\n"):
        made = made.replace("\n", "\r\n")
    new = f"{before}{made}{after}"
    if new == old:
        return False
    write_document(path, new)
    return True


def write_document(path: Path, text: str) -> None:
    """Write a user's document: a link stays one, and what was there keeps its mode.

    Raises:
        OvbenchError: it cannot be written.
    """
    target = path.resolve()
    with replacing(target) as temporary:
        temporary.write_bytes(text.encode())
        if target.exists():
            shutil.copymode(target, temporary)
