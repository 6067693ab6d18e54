"""One record per image: what was counted, and what it cost.

Every number of a result is computed from records, so a result can be scored again under
another definition, compared image by image or given an interval without a GPU.

A shard is a text file with one JSON object per line: an image record, a bad-image record
or the header of a session (one process from start to end). Lines of runs before schema 3 have
no checksum, and their images no size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ovbench.harness.files.lines import content_of, with_checksum
from ovbench.harness.metrics.boundary import BoundaryAreas
from ovbench.harness.metrics.resized import Foreground
from ovbench.harness.metrics.scores import Confusion, Counts, Void


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


Record = ImageRecord | BadImage | Session

_FAR = 1 << 31


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
    boundary, void = record.boundary, record.confusion.void
    return {
        **({} if record.size is None else {"size": record.size}),
        "gt": record.confusion.gt.tolist(),
        "pred": record.confusion.pred.tolist(),
        "pixels": record.confusion.pixels.tolist(),
        "void": void and {"pred": void.pred.tolist(), "pixels": void.pixels.tolist()},
        "boundary": {
            "labels": boundary.labels.tolist(),
            "intersection": boundary.intersection.tolist(),
            "gt": boundary.gt.tolist(),
            "pred": boundary.pred.tolist(),
        },
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
    boundary = data["boundary"]
    return ImageRecord(
        data["image"],
        data.get("size"),
        Confusion(
            gt=_labels(data["gt"]),
            pred=_labels(data["pred"]),
            pixels=_whole(data["pixels"]),
            void=_void(data.get("void")),
        ),
        BoundaryAreas(
            labels=_whole(boundary["labels"]),
            intersection=_whole(boundary["intersection"]),
            gt=_whole(boundary["gt"]),
            pred=_whole(boundary["pred"]),
        ),
        Cost(**data["cost"]),
        {name: _foreground(counts) for name, counts in data.get("resized", {}).items()},
    )


def _void(data: dict[str, Any] | None) -> Void | None:
    """Records of protocol version 1 have none."""
    return None if data is None else Void(_labels(data["pred"]), _whole(data["pixels"]))


def _foreground(counts: list[int]) -> Foreground:
    _check_whole(counts)
    both, gt, pred = counts
    return both, gt, pred


def _labels(values: list[int]) -> npt.NDArray[np.int32]:
    _check_whole(values)
    if values and not -_FAR <= min(values) <= max(values) < _FAR:
        raise ValueError("a label is far outside any vocabulary")
    return np.asarray(values, np.int32)


def _whole(values: list[int]) -> Counts:
    _check_whole(values)
    return np.asarray(values, np.int64)


def _check_whole(values: list[int]) -> None:
    """Nothing is rounded, parsed or wrapped around on its way into an array."""
    if type(values) is not list or not set(map(type, values)) <= {int}:
        raise TypeError("counts and labels are lists of whole numbers")
