"""How far a run is, from what it has written, also while other machines write it.

Nothing is computed and no record is checked here: lines are counted, and clocks are those of the
file system.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from ovbench.errors import UsageError
from ovbench.harness.files.json_files import leaf
from ovbench.harness.files.lines import whole_lines
from ovbench.harness.results.store import RunStore

QUIET_S = 120.0
"""A run that has written nothing for so long, or for ten images, has stopped (our choice)."""
SLOW = 1.25
"""A rank is slow that takes so many times as long per image as the middle one (our choice)."""


@dataclass(frozen=True, slots=True)
class Rank:
    """What one process has written since it last began.

    Attributes:
        world: how many processes shared the run then.
        images: that it has recorded.
        pace_s: seconds per image; None before the first one.
        began, last: when it was prepared and when it last wrote, in seconds since the epoch.
    """

    rank: int
    world: int
    images: int
    pace_s: float | None
    began: float
    last: float


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a run is.

    Attributes:
        images: that have a record.
        total: of the run.
        began: seconds since the epoch; when its directory was claimed.
        ranks: those that took part last.
        miou: in percent; None before it is finished, or where it is undefined.
        finished: its result is written.
    """

    path: Path
    method: str
    dataset: str
    images: int
    total: int
    began: float
    ranks: Sequence[Rank]
    miou: float | None
    finished: bool

    @property
    def last(self) -> float:
        """When it last wrote, in seconds since the epoch."""
        return max([self.began, *(rank.last for rank in self.ranks)])

    def state(self, now: float) -> str:
        """``"done"``, ``"preparing"``, ``"measuring"`` or ``"stopped"``.

        Args:
            now: seconds since the epoch.
        """
        if self.finished:
            return "done"
        pace = max((rank.pace_s or 0.0 for rank in self.ranks), default=0.0)
        if not self.ranks:
            return "preparing"
        return "measuring" if now - self.last < max(QUIET_S, 10 * pace) else "stopped"

    @property
    def left_s(self) -> float | None:
        """Seconds until the slowest rank is through its share; None where nothing tells."""
        if self.finished:
            return 0.0
        if not self.ranks or any(rank.pace_s is None for rank in self.ranks):
            return None
        before = self.images - sum(rank.images for rank in self.ranks)
        share = (self.total - before) / len(self.ranks)
        return max(max(0.0, share - rank.images) * (rank.pace_s or 0.0) for rank in self.ranks)

    @property
    def slow(self) -> Rank | None:
        """The slowest of several ranks, if it is much slower than the middle one."""
        paced = [rank for rank in self.ranks if rank.pace_s]
        if len(paced) < 2:
            return None
        slowest = max(paced, key=lambda rank: rank.pace_s or 0.0)
        middle = median(rank.pace_s or 0.0 for rank in paced)
        return slowest if (slowest.pace_s or 0.0) >= SLOW * middle else None


def standing(path: Path) -> Standing:
    """Look at a run directory.

    Raises:
        UsageError: no run is there, or its ``run.json`` is damaged.
    """
    store = RunStore(path)
    identity = store.identity()
    if identity is None:
        raise UsageError(f"{path}: no run here; a run directory holds run.json")
    seen: set[bytes] = set()
    ranks = [_rank(shard, seen) for shard in sorted((path / "records").glob("rank-*.jsonl"))]
    parts = sorted((one for one in ranks if one is not None), key=lambda one: one.rank)
    # Who resumes may be fewer than who began.
    world = max(parts, key=lambda one: one.began).world if parts else 0
    result = store.result()
    return Standing(
        path,
        str(identity["method"]["name"]),
        str(identity["dataset"]["name"]),
        len(seen),
        int(identity["dataset"]["num_images"]),
        (path / "run.json").stat().st_mtime,
        tuple(one for one in parts if one.world == world and one.rank < world),
        leaf(result, "metrics.miou"),
        result is not None,
    )


def _rank(shard: Path, seen: set[bytes]) -> Rank | None:
    """What a shard's last session wrote; ``seen`` takes every image of the shard."""
    session: dict[str, Any] = {}
    images = 0
    try:
        for _, line in whole_lines(shard):
            if line.startswith(b'{"session":'):
                before, session = session, json.loads(line)["session"]
                # A process that gives fewer images at a time from here on is the same one.
                images = images if session["started"] == before.get("started") else 0
            elif line.startswith(b'{"image":'):
                images += 1
                seen.add(line[: line.find(b'",') + 1])
        began = datetime.fromisoformat(session["started"]).timestamp()
        last = shard.stat().st_mtime
        pace = max(0.0, last - began) / images if images else None
        number = int(shard.stem.removeprefix("rank-"))
        return Rank(number, int(session["world_size"]), images, pace, began, last)
    except (UsageError, OSError, ValueError, KeyError, TypeError):  # or it is just withdrawn
        return None
