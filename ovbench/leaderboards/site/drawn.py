"""Pictures of the images on which the runs of a benchmark differ most."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from ovbench.harness.metrics.scores import miou_by_image
from ovbench.leaderboards.gates.comparison import common_images
from ovbench.leaderboards.report.contents import Chosen, Contents, ReportedRun, choose
from ovbench.leaderboards.report.pictures import Pictures, Source, draw
from ovbench.leaderboards.site.entries import Entry
from ovbench.leaderboards.tables.measured import Measured

SourceOf = Callable[[Entry], Source | None]
"""Where a run's pictures come from; None where it kept no predictions, or its data is not here."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """What is drawn.

    Attributes:
        count: images of each benchmark, at most.
    """

    count: int
    source_of: SourceOf


@dataclass(frozen=True, slots=True)
class Drawn:
    """One run's pictures, with what its page says of their images."""

    contents: Contents
    pictures: Pictures


def group_of(entry: Entry) -> tuple[str, str]:
    """What runs share that measured the same images of one benchmark."""
    return entry.benchmark, entry.result["run"]["ids_sha256"]


def digest_of(group: Sequence[Entry], drawing: Drawing) -> str:
    """Of all that decides what is drawn of a group: which images differ most, and in which colours
    labels are shown, is a matter of all of its runs."""
    told = [drawing.count, *sorted(entry.made_of for entry in group)]
    return sha256(json.dumps(told).encode()).hexdigest()[:16]


def draw_group(group: Sequence[Entry], drawing: Drawing) -> dict[str, Drawn]:
    """The same images of every run of a group that kept its predictions, by the run's key.

    The records of all of these are held together.
    """
    sources = {entry.key: drawing.source_of(entry) for entry in group}
    there = [(entry, source) for entry in group if (source := sources[entry.key]) is not None]
    if not there:
        return {}
    runs = [ReportedRun("A", Measured.read(entry.path), entry.result) for entry, _ in there]
    images = common_images([run.measured for run in runs])
    mious = np.array([miou_by_image(run.measured.areas(images)) for run in runs])
    chosen = choose(images, mious, drawing.count)
    if len(runs) > 1:
        gap = np.ptp(mious, axis=0)
        usable = [place for place in range(len(images)) if not np.isnan(gap[place])]
        widest = sorted(usable, key=lambda place: (-gap[place], images[place]))
        chosen = [Chosen(images[place], ("changed",)) for place in widest[: drawing.count]]
    pictures = draw(Contents(runs, [], images, mious, chosen), [source for _, source in there])
    found = {}
    for place, (entry, _) in enumerate(there):
        own = Contents([runs[place]], [], images, mious[place : place + 1], chosen)
        of_run = Pictures(
            colours=pictures.colours,
            samples=pictures.samples,
            answers=[pictures.answers[place]],
            problems=pictures.problems,
            differences=[pictures.differences[place]],
        )
        found[entry.key] = Drawn(own, of_run)
    return found
