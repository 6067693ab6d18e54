"""README.md, from template.txt and measured.jsonl.

A line of measured.jsonl is one benchmark's run: when, on what, with which versions, and its rows.
The page shows of every benchmark the last run on a machine that, as far as is known, did nothing
else, or, where there is none, the last one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.comparison import HEADINGS, Row, cells

HOME = Path(__file__).resolve().parent
MEASURED, TEMPLATE, PAGE = (HOME / name for name in ("measured.jsonl", "template.txt", "README.md"))
Run = Mapping[str, Any]


def append(run: Run, path: Path) -> None:
    """Add a run; what stands there stays."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(run, ensure_ascii=False) + "\n")


def runs(path: Path = MEASURED) -> list[Run]:
    """All of them, as they were added."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def page(measured: list[Run]) -> str:
    """The template with every ``{{ benchmark }}`` replaced by what was measured."""
    template = TEMPLATE.read_text(encoding="utf-8")
    return re.sub(r"\{\{ (\w+) \}\}", lambda found: _shown(found[1], measured), template)


def _shown(name: str, measured: list[Run]) -> str:
    own = [run for run in measured if run["benchmark"] == name]
    if not own:
        return "Not measured yet."
    run = ([one for one in own if one["quiet"] is not False] or own)[-1]
    rows = [row_of(content) for content in run["rows"]]
    columns = [i for i in range(len(HEADINGS)) if i < 2 or any(cells(row)[i] for row in rows)]
    lines = [
        "| " + " | ".join(HEADINGS[i] for i in columns) + " |",
        "| " + " | ".join("---" if i < 2 or i == 6 else "---:" for i in columns) + " |",
        *("| " + " | ".join(cells(row)[i] for i in columns) + " |" for row in rows),
    ]
    return f"{_measured(run)}:\n\n" + "\n".join(lines)


def row_of(content: Mapping[str, Any]) -> Row:
    """The inverse of ``asdict``."""
    spread = content["spread"]
    return Row(**{**content, "spread": None if spread is None else tuple(spread)})


def content_of(row: Row) -> dict[str, Any]:
    """A row as JSON has it, to four digits."""
    content = asdict(row)
    for name, value in content.items():
        if isinstance(value, float):
            content[name] = _shortened(value)
    content["spread"] = row.spread and [_shortened(bound) for bound in row.spread]
    return content


def _shortened(value: float) -> float:
    return float(f"{value:.4g}")


def _measured(run: Run) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    when = f"{run['at']}, " if run["at"] else ""
    use = {None: "", True: ", which did nothing else", False: ", which others used, too"}
    with_these = f"; {versions}" if versions else ""
    return f"Measured {when}on {run['machine']}{use[run['quiet']]}{with_these}"
