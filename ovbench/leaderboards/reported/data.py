"""The tables in ``data/``, which the package brings along."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from importlib.resources import files


def rows(name: str) -> Sequence[dict[str, str]]:
    """A table of the package's data, as text."""
    text = (files("ovbench.leaderboards") / "data" / f"{name}.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))
