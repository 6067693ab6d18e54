"""Six commands, each killed twice at work; ``kill_storm.py`` by itself kills 30 times."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from kill_storm import COMMANDS, storm


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs forks")
def test_killed_commands_end_like_undisturbed_ones(tmp_path: Path) -> None:
    found = list(storm(2 * len(COMMANDS), 1, tmp_path))
    assert [(name, met) for name, met, _ in found] == [(name, 2) for name in COMMANDS]
