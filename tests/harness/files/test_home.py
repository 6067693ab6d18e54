"""Paths that begin with somebody's home."""

from __future__ import annotations

from pathlib import Path

import pytest
from in_process import ovbench

from ovbench.errors import UsageError
from ovbench.harness.files.cache import cache_home
from ovbench.harness.files.home import at_home

NOBODY = "~nobody-of-this-name/data"


def test_a_home_is_written_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert at_home("~/data") == tmp_path / "data"
    assert at_home("data/~x") == Path("data/~x")


def test_nobodys_home_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for call in (
        ("run", "--method", "random", "--dataset", "voc", "--root", NOBODY),
        ("run", "--method", "random", "--dataset", "toyworld", "--prompts", NOBODY),
        ("datasets", "prepare", "voc", "--root", NOBODY),
        ("new", "method", "mine", "--output", NOBODY),
    ):
        done = ovbench(*call)
        assert done.returncode == 2, call
        assert f"error: {NOBODY}: no home is known here" in done.stderr
    monkeypatch.setenv("OVBENCH_CACHE", NOBODY)
    with pytest.raises(UsageError, match="no home is known here"):
        cache_home()
