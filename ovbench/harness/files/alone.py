"""One command at a time works in a run directory, whatever it measures there."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ovbench.errors import OvbenchError
from ovbench.harness.files.atomic import lock, ready_folder

PATIENCE_S = 3.0
"""How long a command waits: one that only reads a finished run again is soon gone."""


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Be the only command that works in a folder; it is made if it is missing.

    The folder itself is locked, so nothing is left in it, and the system lets go of it when the
    process ends, however it ends. Where folders cannot be locked nothing is promised.

    Raises:
        OvbenchError: another command is at work there.
        UsageError: the folder cannot be made or written.
    """
    held = _locked(folder)
    try:
        yield
    finally:
        if held is not None:
            os.close(held)


def _locked(folder: Path) -> int | None:
    """The open folder; None where a system opens none."""
    until = time.monotonic() + PATIENCE_S
    while True:
        ready_folder(folder / "run.json")
        try:
            held = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:  # whoever fails before its first record removes the folder
            continue
        except OSError:
            return None
        with suppress(FileNotFoundError):
            if lock(held) and os.path.samestat(os.fstat(held), os.stat(folder)):
                return held
        os.close(held)
        if time.monotonic() > until:
            raise OvbenchError(f"{folder}: another process is writing here; wait for it")
        time.sleep(0.1)
