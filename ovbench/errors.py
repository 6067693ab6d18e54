"""Errors that a user can cause or must be told about in one line.

The CLI prints ``error: <message>`` and leaves with ``exit_code``; a Python caller
catches :class:`OvbenchError`. Anything else that escapes is a bug and keeps its traceback.
"""

from __future__ import annotations


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
