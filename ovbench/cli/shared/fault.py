"""What nobody foresaw, as one line; the traceback goes to a file that a report can hold."""

from __future__ import annotations

import sys
import tempfile
import traceback
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from ovbench.harness.contract.stages import is_out_of_memory


def told(error: Exception) -> str:
    """What went wrong, and where the traceback is kept."""
    kind, lines = type(error).__name__, str(error).splitlines() or [""]
    reason = f"{kind}: {lines[0]}".removesuffix(": ")
    said = f"out of memory ({reason})" if is_out_of_memory(error) else f"unexpected {reason}"
    try:
        where = f"the traceback is in {_kept(error)}"
    except OSError as unwritable:
        where = f"the traceback cannot be kept ({unwritable.strerror}), OVBENCH_DEBUG=1 prints it"
    return f"{said}; {where}"


def _kept(error: Exception) -> Path:
    """Write the traceback below the folder for temporary files."""
    now = datetime.now()
    head = [
        f"ovbench {version('ovbench')}, Python {sys.version.split()[0]} on {sys.platform}",
        f"{now:%Y-%m-%d %H:%M:%S}: {sys.argv!r}",
        "",
    ]
    handle, name = tempfile.mkstemp(prefix=f"ovbench-{now:%Y%m%d-%H%M%S}-", suffix=".txt")
    with open(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write("\n".join([*head, *traceback.format_exception(error)]))
    return Path(name)
