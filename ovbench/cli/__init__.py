"""The command line: one small file per command, no logic of its own."""

from __future__ import annotations

import sys

from ovbench.errors import OvbenchError


def main() -> None:
    """Run ``ovbench``; an error a user can cause becomes one line on stderr."""
    from ovbench.cli.app import app

    try:
        app()
    except OvbenchError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("\ninterrupted; a run or a search goes on from here, started again", file=sys.stderr)
        sys.exit(130)
