"""What a gate says of each run: a reference, what was measured, and whether that may pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Finding: TypeAlias = Literal["within", "off", "unmatched"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One row of a gate's table; mIoU in percent.

    Attributes:
        run: the method with its settings, and the benchmark.
        finding: "within" the tolerance, "off", or "unmatched": there is nothing to compare with.
        reference: the value to hold against, or None.
        measured: None where there is no run.
        tolerance: the largest difference that passes.
        source: where the reference comes from, or why there is none.
        details: what moved, and what else differs.
    """

    run: str
    finding: Finding
    reference: float | None
    measured: float | None
    tolerance: float | None
    source: str
    details: Sequence[str] = ()

    @property
    def difference(self) -> float | None:
        """Measured minus reference."""
        if self.reference is None or self.measured is None:
            return None
        return self.measured - self.reference


def summary(verdicts: Sequence[Verdict]) -> str:
    """The gate in a sentence."""
    counts = {f: sum(v.finding == f for v in verdicts) for f in ("within", "off", "unmatched")}
    parts = [f"{counts['within']} within tolerance", f"{counts['off']} off"]
    parts += [f"{counts['unmatched']} not compared"] if counts["unmatched"] else []
    return ", ".join(parts)
