"""The command line: one small file per command, no logic of its own."""

from __future__ import annotations

import errno
import os
import sys

from ovbench.errors import OvbenchError, UsageError

INTERRUPTED = 130
"""The exit code of a command that Ctrl-C ended, as shells have it."""


def main() -> None:
    """Run ``ovbench``; whatever ends it early becomes one line on stderr and an exit code.

    With ``OVBENCH_DEBUG`` in the environment a fault of ovbench keeps its traceback.
    """
    from ovbench.cli.shared.console import degrade, tell

    degrade()
    try:
        _command()
    except OvbenchError as error:
        tell(f"error: {error}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        tell("interrupted; the same command goes on from here")
        sys.exit(INTERRUPTED)
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            # Whoever asked for that file first: no name that is too long is a fault of ovbench.
            tell(f"error: {error.filename}: {error.strerror}")
            sys.exit(UsageError.exit_code)
        if "OVBENCH_DEBUG" in os.environ:
            raise
        from ovbench.cli.shared.fault import told

        tell(f"error: {told(error)}")
        sys.exit(1)


def _command() -> None:
    """What the command line asks for.

    Raises:
        KeyboardInterrupt: Ctrl-C, which typer answers by an exit code alone.
    """
    from ovbench.cli.app import app
    from ovbench.cli.progress.working import work_shown
    from ovbench.cli.shared.console import document

    _refuse_empty_words()
    try:
        with work_shown():
            app()
    except SystemExit as ended:
        if ended.code == INTERRUPTED:
            raise KeyboardInterrupt from None
        document("")  # what typer prints itself, such as help, may wait for a disk that is full
        raise
    except OSError:
        document("")  # so, too
        raise


def _refuse_empty_words() -> None:
    """A shell's variable that is not set would name the folder one is in, or nothing."""
    for before, word in zip(sys.argv, sys.argv[1:], strict=False):
        name, separator, value = word.partition("=")
        if not word.strip():
            raise UsageError(f"an empty value behind {before}; is a variable of the shell not set?")
        if name.startswith("--") and separator and not value.strip():
            raise UsageError(f"an empty value for {name}; is a variable of the shell not set?")
