"""Every line of the GPU gate has a figure to be held against, before a GPU runs it."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

import pytest
from results import result

from ovbench.datasets import ALIASES
from ovbench.datasets.names.sets import known_as
from ovbench.harness.contract.datasets import BackgroundRule
from ovbench.harness.contract.published import PUBLISHED
from ovbench.harness.contract.settings import override, parse_assignments, resolved
from ovbench.harness.registry.names import METHODS
from ovbench.harness.registry.presets import choose_preset, published_rows
from ovbench.leaderboards.reported.counterparts import Counterpart, counterpart

GATE = Path(__file__).resolve().parents[2] / "ci" / "gpu_gate.txt"
LINES = [line for line in GATE.read_text(encoding="utf-8").splitlines() if line[:2] == "--"]
SPLITS = {"fss1000": "test", "perseg": "test"}
SETTLED = {"pnp_ovss": {"resolution": 768}}  # by the method, which knows its model
NO_BACKGROUND = ("cocostuff", "ade20k", "cityscapes")


def options(line: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    for name in ("method", "dataset", "preset", "split", "names", "precision", "batch-size",
                 "seed"):  # fmt: skip
        parser.add_argument(f"--{name}")
    parser.add_argument("--classes", default="all")
    parser.add_argument("--set", action="append", default=[])
    return parser.parse_args(shlex.split(line))


def benchmark(name: str) -> tuple[str, BackgroundRule]:
    return ALIASES.get(name) or (name, "none" if name in NO_BACKGROUND else "class")


def as_if_run(line: str) -> dict[str, Any]:
    """What a result of the line would say of itself."""
    asked = options(line)
    dataset, background = benchmark(asked.dataset)
    method = METHODS.load(asked.method)
    names, row = asked.names, None
    if asked.preset == PUBLISHED:
        (row,) = (
            row
            for row in published_rows(method)
            if (row.dataset, row.background) == (dataset, background)
        )
        names, values = names or row.names, row.settings
    else:
        values = choose_preset(asked.method, method, asked.preset).values
    changes = parse_assignments(asked.set, "--set")
    made = result(
        asked.method, 50.0, preset=asked.preset, dataset=dataset, background=background,
        split=asked.split or SPLITS.get(dataset, "val"), classes=asked.classes, changes=changes,
    )  # fmt: skip
    settings = resolved(override(method.Settings, {**values, **changes}))
    made["config"] = settings | SETTLED.get(asked.method, {})
    if row:
        known = known_as(dataset, names or "plain", background == "class")
        made["vocabulary"]["known_as"] = list(known)
        made["published"] = {"names": row.names}
    defined = made["metrics"]["definitions"]
    made["metrics"]["definitions"] = defined | dict.fromkeys(
        ("all_classes", "other_as_background", "ipseg_1024", "matcher_518", "per_image_class"), 50.0
    )
    return made


@pytest.mark.parametrize("line", LINES)
def test_every_line_has_a_figure(line: str) -> None:
    found = counterpart(as_if_run(line))
    assert isinstance(found, Counterpart), found
