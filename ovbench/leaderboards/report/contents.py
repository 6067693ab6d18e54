"""What a report shows, computed from the runs' records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from ovbench.errors import UsageError
from ovbench.harness.metrics.scores import Counts, miou_by_image
from ovbench.leaderboards.gates.comparison import (
    Comparison,
    check_same,
    common_images,
    compare_measured,
)
from ovbench.leaderboards.tables.measured import Measured
from ovbench.leaderboards.tables.table import Result, find_results

Group: TypeAlias = Literal["worst", "median", "best", "changed"]


@dataclass(frozen=True, eq=False)
class ReportedRun:
    """One run of a report.

    Attributes:
        letter: what tables call it.
        measured: identity and records.
        result: from ``result.json``.
    """

    letter: str
    measured: Measured
    result: Result

    @property
    def matrix(self) -> Counts:
        """Pixels by true and predicted label, ``(labels, labels)``; without unanswered ones."""
        return self.measured.records.tally.confusion[:, :-1]


@dataclass(frozen=True, slots=True)
class Chosen:
    """An image to show, and why."""

    image: str
    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Contents:
    """Everything a report shows but the pictures.

    Attributes:
        runs: the first one is the reference.
        comparisons: of every other run with the reference.
        images: that every run measured, in order of their ids.
        mious: of every image in percent, ``(runs, images)``; nan where nothing is scored.
        chosen: images to show, those on which the reference is worst first.
    """

    runs: Sequence[ReportedRun]
    comparisons: Sequence[Comparison]
    images: Sequence[str]
    mious: npt.NDArray[np.float64]
    chosen: Sequence[Chosen]

    @property
    def reference(self) -> ReportedRun:
        """The run the others are compared with."""
        return self.runs[0]

    def miou(self, run: int, image: str) -> float:
        """Of one image, in percent."""
        return float(self.mious[run, self.images.index(image)])


def read_contents(paths: Sequence[Path], count: int) -> Contents:
    """Read finished runs of one benchmark.

    Args:
        paths: run directories.
        count: images at most of each group that is shown.

    Raises:
        UsageError: no runs, not finished, not the same benchmark, or fewer than two images
            in common.
    """
    runs = [_read(letter(place), path) for place, path in enumerate(paths)]
    reference, *others = (run.measured for run in runs)
    for other in others:
        check_same(reference, other)
    images = common_images([run.measured for run in runs])
    if not images:
        raise UsageError(f"{reference.path}: no image is recorded in every run")
    mious = np.array([miou_by_image(run.measured.areas(images)) for run in runs])
    return Contents(
        runs,
        [compare_measured(other, reference) for other in others],
        images,
        mious,
        choose(images, mious, count),
    )


def letter(place: int) -> str:
    """A, B, … Z, AA, AB, …"""
    head, last = divmod(place, 26)
    return (letter(head - 1) if head else "") + chr(ord("A") + last)


def choose(images: Sequence[str], mious: npt.NDArray[np.float64], count: int) -> list[Chosen]:
    """The images on which the first run is worst, middling and best, and where runs differ most.

    An image is in one of the first three groups at most; few images are shared among them.

    Args:
        mious: ``(runs, images)`` in percent; images with nan are not chosen.
        count: images at most in each group.
    """
    usable = [place for place in range(len(images)) if not np.isnan(mious[:, place]).any()]
    ranked = sorted(usable, key=lambda place: (mious[0, place], images[place]))
    share = min(count, -(-len(ranked) // 3))
    start = max(share, (len(ranked) - share) // 2)
    groups: dict[int, list[Group]] = {}
    cuts: list[tuple[Group, list[int]]] = [
        ("worst", ranked[:share]),
        ("median", ranked[start : min(start + share, len(ranked) - share)]),
        ("best", ranked[max(share, len(ranked) - share) :]),
    ]
    if len(mious) > 1:
        gap = np.abs(mious[1:] - mious[0]).max(axis=0)
        widest = sorted(usable, key=lambda place: (-gap[place], images[place]))
        cuts.append(("changed", [place for place in widest[:count] if gap[place] > 0]))
    for group, places in cuts:
        for place in places:
            groups.setdefault(place, []).append(group)
    return [Chosen(images[place], tuple(groups[place])) for place in ranked if place in groups]


def _read(name: str, path: Path) -> ReportedRun:
    measured = Measured.read(path)
    (result,) = find_results([path / "result.json"])
    return ReportedRun(name, measured, result)
