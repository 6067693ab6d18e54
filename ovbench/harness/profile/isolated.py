"""One call in a process of its own.

What the call allocates is that process's peak alone, and a crash there is an outcome here.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from ovbench.errors import OvbenchError
from ovbench.harness.contract.stages import is_out_of_memory

Status: TypeAlias = Literal["ok", "out_of_memory", "failed"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the call ended.

    Attributes:
        answer: what the function returned; None unless ``status`` is "ok".
        reason: one line; None where ``status`` is "ok".
    """

    status: Status
    answer: Any = None
    reason: str | None = None


def call_isolated(function: Callable[[Any], Any], argument: Any) -> Outcome:
    """Call ``function(argument)`` in a fresh Python.

    Args:
        function: at the top level of a module that the other process can import.
        argument: can be pickled; the answer must be JSON-ready.
    """
    # -P: a file of the user's working directory must not pass for a module.
    command = [sys.executable, "-P", "-m", __name__]
    content = pickle.dumps((function, argument))
    done = subprocess.run(command, input=content, capture_output=True, check=False)
    try:
        return Outcome(**json.loads(done.stdout))
    except ValueError:
        return Outcome(
            "failed", reason=death(done.returncode, done.stderr.decode("utf-8", "replace"))
        )


def _serve() -> None:
    """Answer the call that stdin holds."""
    # A method that prints must not write into the reply.
    reply = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        function, argument = pickle.load(sys.stdin.buffer)
        outcome = {"status": "ok", "answer": function(argument)}
    except Exception as error:
        status = "out_of_memory" if is_out_of_memory(error) else "failed"
        outcome = {"status": status, "reason": _reason(error)}
    with reply:
        json.dump(outcome, reply, allow_nan=False)


def _reason(error: Exception) -> str:
    lines = str(error).splitlines() or [""]
    if isinstance(error, OvbenchError):
        return lines[0]
    return f"{type(error).__name__}: {lines[0]}".removesuffix(": ")


def death(code: int, stderr: str) -> str:
    """Why a process ended without a reply.

    Args:
        code: negative for a signal.
        stderr: of which the last line tells, where it was not killed.
    """
    if code < 0:
        # Linux kills so when memory runs out; nothing tells it from any other kill.
        hint = "; perhaps out of memory" if -code == signal.SIGKILL else ""
        return f"killed by {signal.Signals(-code).name}{hint}"
    last = [line.strip() for line in stderr.splitlines() if line.strip()][-1:]
    return ": ".join([f"ended with exit code {code}", *last])


if __name__ == "__main__":
    _serve()
