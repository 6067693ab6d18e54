"""``python -m ovbench.toyworld.evaluate``: measure the miniatures against their floors."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from ovbench.errors import OvbenchError
from ovbench.toyworld.arguments import positive
from ovbench.toyworld.evaluate.floors import FLOORS, Figures, measure
from ovbench.toyworld.scene import render_scene
from ovbench.toyworld.world import SPLITS

FLOOR_MISSED = 3
"""The exit code of a regression gate that failed."""


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, measure, and return the exit code."""
    asked = _parser().parse_args(arguments)
    scenes = [render_scene(seed) for seed in SPLITS["test"][: asked.scenes]]
    figures: dict[str, Figures] = {}
    try:
        for role in asked.roles or FLOORS:
            started = time.perf_counter()
            figures[role] = measure(role, scenes)
            seconds = time.perf_counter() - started
            print(f"{role}: {seconds:.0f} s", file=sys.stderr, flush=True)
    except OvbenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    if asked.json:
        print(json.dumps(figures, indent=2))
    else:
        Console().print(_table(figures))
    return FLOOR_MISSED if missed(figures) else 0


def missed(figures: Mapping[str, Figures]) -> list[tuple[str, str]]:
    """The roles and figures that are below their floors."""
    return [
        (role, name)
        for role, values in figures.items()
        for name, floor in FLOORS[role].items()
        if values[name] < floor
    ]


def _table(figures: Mapping[str, Figures]) -> Table:
    table = Table("miniature", "figure", "reached", "floor")
    below = missed(figures)
    for role, values in figures.items():
        for name, value in values.items():
            floor = FLOORS[role].get(name)
            mark = " missed" if (role, name) in below else ""
            shown = "" if floor is None else f"{floor:g}{mark}"
            table.add_row(role, name, f"{value:g}", shown)
    return table


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ovbench.toyworld.evaluate",
        description="Measure the packaged miniatures on scenes of the test split. Exit code "
        f"{FLOOR_MISSED}: one of them is below what it must reach.",
    )
    roles = ", ".join(FLOORS)
    parser.add_argument("roles", nargs="*", type=_role, metavar="ROLE", help=f"default: {roles}")
    parser.add_argument("--scenes", type=positive, default=200, help="default: 200")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser


def _role(text: str) -> str:
    if text not in FLOORS:
        raise argparse.ArgumentTypeError(f"no miniature {text!r}; there are: {', '.join(FLOORS)}")
    return text


if __name__ == "__main__":
    raise SystemExit(main())
