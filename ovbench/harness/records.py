"""One record per image: what was counted, and what it cost.

Every number of a result is computed from records, so a result can be scored again under
another definition, compared image by image or given an interval without a GPU.

A shard is a text file with one JSON object per line: an image record, a bad-image record
or the header of a session (one process from start to end).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ovbench.harness.boundary import BoundaryAreas
from ovbench.harness.metrics import Confusion, Void


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
    """What was counted on one image."""

    image: str
    confusion: Confusion
    boundary: BoundaryAreas
    cost: Cost


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


def encode(record: Record) -> str:
    """One line of a shard, newline included."""
    return json.dumps(_as_dict(record), separators=(",", ":"), ensure_ascii=False) + "\n"


def decode(line: str) -> Record:
    """The inverse of :func:`encode`.

    Raises:
        ValueError, KeyError, TypeError: not a record.
    """
    data = json.loads(line)
    if "session" in data:
        session = data["session"]
        return Session(**{**session, "notes": tuple(session.get("notes", ()))})
    if "bad" in data:
        return BadImage(data["image"], data["bad"])
    return ImageRecord(
        data["image"],
        Confusion(
            gt=np.asarray(data["gt"], dtype=np.int32),
            pred=np.asarray(data["pred"], dtype=np.int32),
            pixels=np.asarray(data["pixels"], dtype=np.int64),
            void=_void(data.get("void")),
        ),
        BoundaryAreas(**{k: np.asarray(v, dtype=np.int64) for k, v in data["boundary"].items()}),
        Cost(**data["cost"]),
    )


def _void(data: Mapping[str, Any] | None) -> Void | None:
    """Records of protocol version 1 have none."""
    if data is None:
        return None
    return Void(np.asarray(data["pred"], np.int32), np.asarray(data["pixels"], np.int64))


def _as_dict(record: Record) -> dict[str, Any]:
    if isinstance(record, Session):
        return {"session": asdict(record)}
    if isinstance(record, BadImage):
        return {"image": record.image, "bad": record.reason}
    boundary, void = record.boundary, record.confusion.void
    return {
        "image": record.image,
        "gt": record.confusion.gt.tolist(),
        "pred": record.confusion.pred.tolist(),
        "pixels": record.confusion.pixels.tolist(),
        "void": None
        if void is None
        else {"pred": void.pred.tolist(), "pixels": void.pixels.tolist()},
        "boundary": {
            "labels": boundary.labels.tolist(),
            "intersection": boundary.intersection.tolist(),
            "gt": boundary.gt.tolist(),
            "pred": boundary.pred.tolist(),
        },
        "cost": _rounded(asdict(record.cost)),
    }


def _rounded(cost: dict[str, Any]) -> dict[str, Any]:
    """Times to the microsecond: more is noise and a third of the file."""
    cost["stages_s"] = {name: round(s, 6) for name, s in cost["stages_s"].items()}
    return {k: round(v, 6) if isinstance(v, float) else v for k, v in cost.items()}
