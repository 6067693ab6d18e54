"""Results by what their methods were trained with."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from ovbench.errors import UsageError
from ovbench.harness.contract.supervision import GROUPS, Supervision
from ovbench.leaderboards.tables.table import Result


def dearest_labels(result: Result) -> str:
    """Of :data:`~ovbench.harness.contract.supervision.GROUPS`; older results say nothing of it."""
    found = Supervision.of(result)
    return found.dearest if found else "unknown"


def of_supervision(results: Sequence[Result], wanted: Collection[str]) -> Sequence[Result]:
    """The results whose methods were trained with these labels at the dearest; empty: all.

    Raises:
        UsageError: labels that are none, or of which there is no result.
    """
    found = list(results)
    for labels in wanted:
        if labels not in GROUPS:
            raise UsageError(f"--supervision {labels}: there are {', '.join(GROUPS)}")
    if wanted:
        found = [result for result in results if dearest_labels(result) in wanted]
    if not found and results:
        there = ", ".join(by_supervision(results))
        raise UsageError(f"--supervision {','.join(wanted)}: no result of it; there are {there}")
    return found


def by_supervision(results: Sequence[Result]) -> Mapping[str, Sequence[Result]]:
    """Results by their dearest labels, the cheapest first."""
    groups = {name: [r for r in results if dearest_labels(r) == name] for name in GROUPS}
    return {name: group for name, group in groups.items() if group}
