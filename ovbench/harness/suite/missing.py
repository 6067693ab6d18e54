"""The weights that a suite's runs load and that are not on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ovbench.harness.suite.prospects import Prospect
from ovbench.models.weights.inventory import Item, item_of


@dataclass(frozen=True, slots=True)
class Missing:
    """A checkpoint.

    Attributes:
        name: ``"role/name"``.
        runs: how many wait for it.
        item: what is known of it; None where nothing is.
    """

    name: str
    runs: int
    item: Item | None


def missing_weights(prospects: Sequence[Prospect]) -> list[Missing]:
    """What runs that are not done load and is missing, the most wanted first."""
    wanted: dict[str, int] = {}
    for one in prospects:
        if one.state not in ("done", "left out"):
            for name in one.weights:
                wanted[name] = wanted.get(name, 0) + 1
    found = [Missing(name, runs, item_of(name)) for name, runs in wanted.items()]
    lacking = [one for one in found if one.item is None or one.item.state == "missing"]
    return sorted(lacking, key=lambda one: -one.runs)
