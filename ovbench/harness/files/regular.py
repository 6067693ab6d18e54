"""What is found under a name is opened only where it is a file.

A pipe or a device would be waited for, or read, without an end.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def regular(path: Path) -> Path:
    """The path of a regular file, links followed, as it was given.

    Raises:
        OSError: nothing is there, or no regular file; ``strerror`` says what.
        ValueError: no file can have this name.
    """
    kind = path.stat().st_mode
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(kind):
        raise OSError(errno.EINVAL, "a pipe, socket or device", str(path))
    return path
