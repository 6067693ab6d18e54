"""A run directory, read: what was measured, and every image's record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovbench.errors import UsageError
from ovbench.harness.metrics.scores import Areas
from ovbench.harness.results.run_records import RunRecords
from ovbench.harness.results.store import RunStore
from ovbench.leaderboards.tables.table import method_words


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """One run.

    Attributes:
        path: of its directory.
        identity: as the runner wrote it to ``run.json``.
    """

    path: Path
    identity: Mapping[str, Any]
    records: RunRecords

    @classmethod
    def read(cls, path: Path) -> Measured:
        """Read a run directory.

        Raises:
            UsageError: no run is there, or its files are damaged.
        """
        store = RunStore(path)
        identity = store.identity()
        if identity is None:
            raise UsageError(f"{path}: no run here; a run directory holds run.json and records")
        return cls(path, identity, store.records())

    @property
    def name(self) -> str:
        """The method, and the directory, as several runs may be of one method."""
        method = self.identity["method"]
        words = method_words(method["name"], method["preset"], method["changes"])
        return f"{words} [{self.path.resolve().name}]"

    @property
    def labels(self) -> Sequence[str]:
        """The name of every label."""
        names: Sequence[str] = self.identity["vocabulary"]["names"]
        return names

    @property
    def scored(self) -> Sequence[int]:
        """The labels that scores average over."""
        return self.identity["dataset"]["scored"] or range(len(self.labels))

    def areas(self, images: Sequence[str]) -> Areas:
        """Every image's areas of the scored labels, ``(images, scored labels)``."""
        return self.records.tally.areas(self.records.rows(images)).take(self.scored)
