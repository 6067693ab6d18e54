"""Errors that a user can cause or must be told about in one line.

The CLI prints ``error: <message>`` and leaves with ``exit_code``; a Python caller
catches :class:`OvbenchError`. Anything else that escapes is a bug and keeps its traceback.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType


class OvbenchError(Exception):
    """The run failed for a reason that one line explains (exit code 1)."""

    exit_code = 1


class UsageError(OvbenchError):
    """Wrong usage, missing data or missing weights; the message says how to mend it."""

    exit_code = 2


class DataError(UsageError):
    """A dataset file is missing, corrupt or inconsistent; the message names the file."""


class ContractError(OvbenchError):
    """A method broke the :class:`~ovbench.Segmenter` contract."""


@contextmanager
def outliving_exits() -> Iterator[None]:
    """Code of others that ends the program has failed, whatever exit code it names.

    An :class:`OwnExit` passes.

    Raises:
        OvbenchError: says which line would have ended it.
    """
    try:
        yield
    except OwnExit:
        raise
    except SystemExit as error:
        code = 0 if error.code is None else error.code
        raise OvbenchError(
            f"{_asker(error.__traceback__)} ends the program by SystemExit({str(code)[:200]!r}); "
            "raise an error there instead"
        ) from error


class OwnExit(SystemExit):
    """Ends a command from within on purpose."""


def _asker(trace: TracebackType | None) -> str:
    """The innermost line that is not Python's own, as that of ``sys.exit`` or ``argparse``."""
    library, place = os.path.dirname(os.__file__), "code"
    while trace is not None:
        code = trace.tb_frame.f_code
        if os.path.dirname(code.co_filename) != library and not code.co_filename.startswith("<"):
            place = f"{code.co_filename}:{trace.tb_lineno} ({code.co_name})"
        trace = trace.tb_next
    return place
