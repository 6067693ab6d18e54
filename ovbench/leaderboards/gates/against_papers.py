"""Measurements against what is reported."""

from __future__ import annotations

from collections.abc import Sequence

from ovbench.leaderboards.gates.verdicts import Finding, Verdict
from ovbench.leaderboards.reported.counterparts import Counterpart, counterpart
from ovbench.leaderboards.reported.published import cite
from ovbench.leaderboards.tables.labels import labels
from ovbench.leaderboards.tables.table import Conditions, Result

TOLERANCE = 1.0
"""In mIoU. Papers print one decimal; other versions of libraries and weights move the first one.
A row of ``data/counterparts.csv`` may be held tighter."""


def against_papers(results: Sequence[Result], tolerance: float | None = None) -> list[Verdict]:
    """One verdict per result, in the order of the results.

    Args:
        tolerance: in mIoU, for all of them; None is that of the figure's row, or
            :data:`TOLERANCE`. Where a paper gives a spread over seeds, two of these if that is
            more.
    """
    named = labels(results)
    return [_verdict(result, named[result["run"]["id"]], tolerance) for result in results]


def passes(verdicts: Sequence[Verdict]) -> bool:
    """Whether something was compared and nothing is off."""
    findings = {verdict.finding for verdict in verdicts}
    return "within" in findings and "off" not in findings


def _verdict(result: Result, label: str, tolerance: float | None) -> Verdict:
    run, found = result["run"], counterpart(result)
    name = f"{label} on {Conditions.of(result).words(run['num_images'])}"
    if not isinstance(found, Counterpart):
        return Verdict(name, "unmatched", None, result["metrics"]["miou"], None, found)
    figure = found.figure
    if tolerance is None:
        tolerance = TOLERANCE if found.tolerance is None else found.tolerance
    allowed = max(tolerance, 2 * (figure.std or 0))
    source = f"{cite(figure)}: {figure.dataset}, mIoU as {found.definition!r}"
    finding: Finding = "within" if abs(found.delta) <= allowed else "off"
    return Verdict(name, finding, figure.value, found.measured, allowed, source)
