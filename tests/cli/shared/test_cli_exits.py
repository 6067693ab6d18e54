"""Methods and datasets that end the program: the command fails, and keeps what it has."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from in_process import ovbench

from ovbench.adapters.chance import Constant
from ovbench.datasets.toyworld import ToyWorld
from ovbench.errors import OvbenchError, outliving_exits

RUN = ("run", "-m", "constant", "-d", "toyworld", "--limit", "6", "--workers", "1", "--quiet")


def leaving(function: Callable[..., Any], asked: int, leave: Callable[[], object]) -> Any:
    """The function, which ends the program when it is asked for the last of so many times."""
    left = asked

    def asked_again(*given: Any, **named: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            leave()
        return function(*given, **named)

    return asked_again


@pytest.mark.parametrize(
    ("owner", "name", "before", "kept"),
    [
        (Constant, "__init__", 0, None),
        (Constant, "prepare", 0, None),
        (Constant, "segment", 3, 3),
        (ToyWorld, "load", 0, None),
    ],
)
@pytest.mark.parametrize("code", [0, None, 2, 130])
def test_the_run_has_failed_and_goes_on_later(
    owner: type[Any],
    name: str,
    before: int,
    kept: int | None,
    code: int | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = tmp_path / "run"
    command = (*RUN, "--output", run)
    with monkeypatch.context() as patch:
        broken = leaving(getattr(owner, name), before, lambda: sys.exit(code))
        patch.setattr(owner, name, broken)
        failed = ovbench(*command)
    assert failed.returncode == 1
    assert failed.stdout == ""
    (line,) = failed.stderr.splitlines()
    assert line.startswith(f"error: {__file__}:")
    assert line.endswith("; raise an error there instead")
    shard = run / "records" / "rank-0.jsonl"
    there = shard.read_text().count('"image"') if shard.exists() else None
    assert there == kept
    assert ovbench(*command).returncode == 0
    assert json.loads((run / "result.json").read_text())["run"]["num_images"] == 6


def test_ctrl_c_is_no_such_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Constant, "segment", leaving(Constant.segment, 1, interrupt))
    stopped = ovbench(*RUN, "--output", tmp_path / "run")
    assert stopped.returncode == 130
    assert stopped.stderr == "interrupted; the same command goes on from here\n"


def test_the_line_is_that_of_the_code_that_asked_a_library() -> None:
    with pytest.raises(OvbenchError) as caught, outliving_exits():
        argparse.ArgumentParser(exit_on_error=True).parse_args(["--unknown"])
    here = f"{__file__}:"
    assert str(caught.value).startswith(here)
    assert "ends the program by SystemExit('2')" in str(caught.value)
