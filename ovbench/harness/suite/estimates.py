"""What is left of a suite, from what its runs took so far; what nothing tells is unknown.

A run of the same method, preset and settings tells of another benchmark: so many seconds per image,
and so many beside the images, to start, to load and to prepare. Its pictures may be of another size
there. Where no run tells, a few images do that were measured for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

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
        gpu: bytes of the GPU alone; None on a CPU, too.
    """

    seconds: float | None = None
    memory: float | None = None
    disk: float | None = None
    gpu: float | None = None


@dataclass(frozen=True, slots=True)
class Took:
    """What a finished run took.

    Attributes:
        per_image_s, beside_s: seconds per image, and of all else.
        ram, gpu: bytes at its peak; None where they were not measured.
        per_image_bytes, beside_bytes: of its directory: of records, and of all else.
    """

    per_image_s: float
    beside_s: float
    ram: float | None
    gpu: float | None
    per_image_bytes: float
    beside_bytes: float

    @classmethod
    def of(cls, path: Path, whole_s: float | None) -> Took | None:
        """Of a run directory; None where it is not finished, or does not tell.

        Args:
            whole_s: from its start to its end, the start of Python included, where it is known.
        """
        result = RunStore(path).result()
        images = leaf(result, "run.num_images")
        parts = [
            leaf(result, f"profile.{name}") for name in ("per_image_s.mean", "wait_s", "evaluate_s")
        ]
        if not images or any(part is None for part in parts):
            return None
        per_image = sum(parts)
        prepare = leaf(result, "profile.prepare_s") or 0.0
        sizes = {file: file.stat().st_size for file in path.rglob("*") if file.is_file()}
        records = sum(size for file, size in sizes.items() if file.parent.name == "records")
        return cls(
            per_image,
            prepare if whole_s is None else max(prepare, whole_s - images * per_image),
            leaf(result, "profile.peak_rss_bytes"),
            leaf(result, "profile.peak_gpu_reserved_bytes"),
            records / images,
            sum(sizes.values()) - records,
        )

    @classmethod
    def read(cls, content: Any) -> Took | None:
        """From a mapping, as :meth:`content` made it; None where it is none."""
        if not isinstance(content, Mapping) or set(content) != {one.name for one in fields(cls)}:
            return None
        values = [content[one.name] for one in fields(cls)]
        numbers = all(
            isinstance(value, int | float) or (value is None and name in ("ram", "gpu"))
            for name, value in content.items()
        )
        return cls(*values) if numbers else None

    def content(self) -> dict[str, Any]:
        """As a mapping, JSON-ready."""
        return asdict(self)


@dataclass(slots=True)
class Experience:
    """What runs of a suite took, those that finish meanwhile included.

    Args:
        folder: of the suite.
        prospects: its runs.
        ledger: of the suite.
    """

    folder: Path
    prospects: Sequence[Prospect]
    ledger: Ledger
    _took: dict[str, Took] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for one in self.prospects:
            if one.state == "done":
                self._learn(one.run.name)

    def of(self, prospect: Prospect) -> Estimate:
        """What a run is going to take."""
        took = self._like(prospect.run)
        if not took or prospect.images is None:
            return Estimate()
        left = prospect.images - prospect.measured
        gpu = max((one.gpu for one in took if one.gpu), default=None)
        ram = max((one.ram for one in took if one.ram), default=None)
        return Estimate(
            median(one.beside_s for one in took) + left * median(one.per_image_s for one in took),
            gpu or ram,
            median(one.beside_bytes for one in took)
            + prospect.images * median(one.per_image_bytes for one in took),
            gpu,
        )

    def gpu(self, run: str) -> float | None:
        """Bytes of a GPU that a run takes at its peak, from what has finished until now."""
        asked = next(one for one in self.prospects if one.run.name == run)
        for one in self.prospects:
            if one.run.name not in self._took and like(one.run) == like(asked.run):
                self._learn(one.run.name)
        return max((one.gpu for one in self._like(asked.run) if one.gpu), default=None)

    def _learn(self, run: str) -> None:
        took = Took.of(self.folder / run, self.ledger.seconds.get(run))
        if took is not None:
            self._took[run] = took

    def _like(self, run: Wanted) -> list[Took]:
        """What runs like one took, else what a few images for one of them did."""
        names = [one.run.name for one in self.prospects if like(one.run) == like(run)]
        found = [self._took[name] for name in names if name in self._took]
        tried = [Took.read(self.ledger.tried.get(name)) for name in names]
        return found or [one for one in tried if one is not None]


def estimates(experience: Experience) -> Mapping[str, Estimate]:
    """What every run that is due is going to take, by its name."""
    return {one.run.name: experience.of(one) for one in experience.prospects if one.due}


def total(values: Iterable[float | None]) -> tuple[float, int]:
    """The sum of what is known, and of how many nothing is."""
    found = list(values)
    known = [value for value in found if value is not None]
    return sum(known), len(found) - len(known)


def like(run: Wanted) -> _Like:
    """What two runs share of which one tells what the other takes."""
    how = ("classes", "checkpoints", "precision", "batch-size", "shots")
    return (
        run.method,
        run.preset,
        tuple(sorted(run.settings.items())),
        tuple(run.options.get(name) for name in how),
    )


def duration(seconds: float) -> str:
    """Such as ``"40 s"``, ``"12 min"`` or ``"3.5 h"``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"
