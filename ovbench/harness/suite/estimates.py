"""What is left of a suite, from what its runs took so far; what nothing tells is unknown.

A run of the same method, preset and settings tells of another benchmark: so many seconds per image,
and so many beside the images, to start, to load and to prepare. Its pictures may be of another size
there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TypeAlias

from ovbench.harness.files.json_files import leaf
from ovbench.harness.results.store import RunStore
from ovbench.harness.suite.ledger import Ledger
from ovbench.harness.suite.prospects import Prospect
from ovbench.harness.suite.wanted import Wanted

_Like: TypeAlias = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run is going to take; None where nothing tells.

    Attributes:
        seconds: of what is left of it.
        memory: bytes at its peak, of the GPU where it computes on one.
        disk: bytes of its directory when it is whole.
    """

    seconds: float | None = None
    memory: float | None = None
    disk: float | None = None


@dataclass(frozen=True, slots=True)
class _Took:
    """One finished run."""

    per_image_s: float
    beside_s: float
    memory: float | None
    bytes_per_image: float


def estimates(
    folder: Path, prospects: Sequence[Prospect], ledger: Ledger
) -> Mapping[str, Estimate]:
    """What every run that is due is going to take, by its name."""
    took: dict[_Like, list[_Took]] = {}
    for one in prospects:
        if one.state == "done" and (found := _took(folder / one.run.name, ledger)) is not None:
            took.setdefault(_like(one.run), []).append(found)
    return {
        one.run.name: _estimate(one, took.get(_like(one.run), [])) for one in prospects if one.due
    }


def total(values: Iterable[float | None]) -> tuple[float, int]:
    """The sum of what is known, and of how many nothing is."""
    found = list(values)
    known = [value for value in found if value is not None]
    return sum(known), len(found) - len(known)


def _estimate(prospect: Prospect, took: Sequence[_Took]) -> Estimate:
    if not took or prospect.images is None:
        return Estimate()
    left = prospect.images - prospect.measured
    memory = [one.memory for one in took if one.memory is not None]
    return Estimate(
        median(one.beside_s for one in took) + left * median(one.per_image_s for one in took),
        max(memory, default=None),
        prospect.images * median(one.bytes_per_image for one in took),
    )


def _like(run: Wanted) -> _Like:
    """What two runs share of which one tells what the other takes."""
    how = ("classes", "checkpoints", "precision", "batch-size", "shots")
    return (
        run.method,
        run.preset,
        tuple(sorted(run.settings.items())),
        tuple(run.options.get(name) for name in how),
    )


def _took(path: Path, ledger: Ledger) -> _Took | None:
    result = RunStore(path).result()
    images = leaf(result, "run.num_images")
    parts = [
        leaf(result, f"profile.{name}") for name in ("per_image_s.mean", "wait_s", "evaluate_s")
    ]
    if not images or any(part is None for part in parts):
        return None
    per_image = sum(parts)
    whole = ledger.seconds.get(path.name)
    prepare = leaf(result, "profile.prepare_s") or 0.0
    beside = prepare if whole is None else max(prepare, whole - images * per_image)
    memory = leaf(result, "profile.peak_gpu_reserved_bytes") or leaf(
        result, "profile.peak_rss_bytes"
    )
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return _Took(per_image, beside, memory, size / images)


def duration(seconds: float) -> str:
    """Such as ``"40 s"``, ``"12 min"`` or ``"3.5 h"``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"
