"""One record per image: what was counted, and what it cost.

Every number of a result is computed from records, so a result can be scored again under
another definition, compared image by image or given an interval without a GPU.

A shard is a text file with one JSON object per line: an image record, a bad-image record
or the header of a session (one process from start to end). Counts are packed
(:mod:`ovbench.harness.results.packed`); lines of older versions spell them out. Those of runs
before schema 3 have no checksum, and their images no size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from sys import intern
from typing import Any

from ovbench.harness.files.lines import content_of, with_checksum
from ovbench.harness.metrics.boundary import BoundaryAreas
from ovbench.harness.metrics.resized import Foreground
from ovbench.harness.metrics.scores import Confusion
from ovbench.harness.results.packed import pack, unpack
from ovbench.harness.results.spelt_out import read_lists, whole


@dataclass(frozen=True, slots=True)
class Cost:
    """What one image cost; a batch's cost is shared evenly by its images.

    Attributes:
        wait_s: seconds the process waited for the image to be read.
        compute_s: seconds inside :meth:`Segmenter.segment`.
        evaluate_s: seconds of counting.
        stages_s: seconds per stage that the method marked.
        batch: images in the batch.
        warmup: True for the first images of a process, which are left out of latency.
        rss, gpu_allocated, gpu_reserved: the process's peak so far, bytes.
    """

    wait_s: float
    compute_s: float
    evaluate_s: float
    stages_s: Mapping[str, float] = field(default_factory=dict)
    batch: int = 1
    warmup: bool = False
    rss: int | None = None
    gpu_allocated: int | None = None
    gpu_reserved: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ImageRecord:
    """What was counted on one image.

    Attributes:
        size: pixels of the image, ignored ones included; None in records of older versions.
        resized: of an image with a prompt of its own, see :mod:`ovbench.harness.metrics.resized`.
    """

    image: str
    size: int | None
    confusion: Confusion
    boundary: BoundaryAreas
    cost: Cost
    resized: Mapping[str, Foreground] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BadImage:
    """An image that could not be read; tried again whenever the run is resumed."""

    image: str
    reason: str


@dataclass(frozen=True, slots=True)
class Session:
    """One process's part in a run.

    Attributes:
        started: ISO 8601, UTC.
        rank, world_size: of this process.
        batch_size: images given to the method at once.
        prepare_s: seconds in :meth:`Segmenter.prepare`.
        prepare_stages_s: seconds per stage that the method marked in it.
        device: in words.
        environment: versions, hardware and commit.
        notes: what the method says of its preparation.
        parameters: of the networks that the method holds when it segments; None where label
            maps come from files.
        fitting: images given at once from here on, where memory did not suffice for
            ``batch_size``.
    """

    started: str
    command: str
    rank: int
    world_size: int
    batch_size: int
    device: str
    prepare_s: float
    prepare_stages_s: Mapping[str, float]
    environment: Mapping[str, Any]
    notes: Sequence[str] = ()
    parameters: int | None = None
    fitting: int | None = None


Record = ImageRecord | BadImage | Session


def encode(record: Record, key: bytes = b"") -> bytes:
    """One line of a shard, newline included; ``key`` is the run's."""
    return with_checksum(_as_dict(record), key)


def decode(line: bytes, key: bytes = b"", *, summed: bool = True) -> Record:
    """The inverse of :func:`encode`.

    Whether what a record says is possible is for
    :mod:`ovbench.harness.results.record_checks` to find.

    Args:
        key: of the run.
        summed: the line must have a checksum, as those of runs since schema 3 have.

    Raises:
        ValueError: not a record, or not as it was written; says why.
    """
    content = content_of(line, key, required=summed)
    try:
        return _from_dict(content)
    except KeyError as error:
        raise ValueError(f"not a record, it has no {error}") from None
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"not a record ({error})") from None


def counts_of(record: ImageRecord) -> dict[str, Any]:
    """What a record says of its image, JSON-ready; what it cost is left out."""
    return {
        **({} if record.size is None else {"size": record.size}),
        "counts": pack(record.confusion, record.boundary),
        **({"resized": dict(record.resized)} if record.resized else {}),
    }


def _as_dict(record: Record) -> dict[str, Any]:
    if isinstance(record, Session):
        return {"session": asdict(record)}
    if isinstance(record, BadImage):
        return {"image": record.image, "bad": record.reason}
    return {"image": record.image, **counts_of(record), "cost": _rounded(record.cost)}


def _rounded(cost: Cost) -> dict[str, Any]:
    """Times to the microsecond: more is noise and a third of the file."""
    return {
        "wait_s": round(cost.wait_s, 6),
        "compute_s": round(cost.compute_s, 6),
        "evaluate_s": round(cost.evaluate_s, 6),
        "stages_s": {name: round(s, 6) for name, s in cost.stages_s.items()},
        "batch": cost.batch,
        "warmup": cost.warmup,
        "rss": cost.rss,
        "gpu_allocated": cost.gpu_allocated,
        "gpu_reserved": cost.gpu_reserved,
    }


def _from_dict(data: dict[str, Any]) -> Record:
    if "session" in data:
        session = data["session"]
        return Session(**{**session, "notes": tuple(session.get("notes", ()))})
    if "bad" in data:
        return BadImage(data["image"], data["bad"])
    counts = unpack(data["counts"]) if "counts" in data else read_lists(data)
    resized = {name: _foreground(found) for name, found in data.get("resized", {}).items()}
    return ImageRecord(data["image"], data.get("size"), *counts, _cost(data["cost"]), resized)


def _cost(data: dict[str, Any]) -> Cost:
    """Thousands of records have the same few stages: their names are kept once."""
    if isinstance(stages := data.get("stages_s"), dict):
        data = {**data, "stages_s": {intern(name): s for name, s in stages.items()}}
    return Cost(**data)


def _foreground(counts: list[int]) -> Foreground:
    both, gt, pred = whole(counts).tolist()
    return both, gt, pred
