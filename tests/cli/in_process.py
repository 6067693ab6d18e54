"""The command line in this process, where PyTorch and what is built on it is imported once."""

from __future__ import annotations

import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from unittest import mock

from ovbench.cli import main


def ovbench(*arguments: object) -> subprocess.CompletedProcess[str]:
    """What ``ovbench`` prints for these arguments, and its exit code.

    The time that a process takes to start is most of what a short run of a method takes. Tests
    that kill, time or weigh a process start one.
    """
    words = ["ovbench", *map(str, arguments)]
    out, err, code = StringIO(), StringIO(), 0
    with redirect_stdout(out), redirect_stderr(err), mock.patch.object(sys, "argv", words):
        try:
            main()
        except SystemExit as stopped:
            code = int(stopped.code or 0)
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())
