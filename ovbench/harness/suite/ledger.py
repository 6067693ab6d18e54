"""What a suite remembers beside its runs: which it is, which failed, and how long each took.

All else, what is done and how far the rest is, the run directories say themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ovbench.errors import UsageError
from ovbench.harness.files.atomic import ready_folder
from ovbench.harness.files.json_files import read_json, write_json

SCHEMA_VERSION = 1
FILE = "suite.json"


@dataclass(slots=True)
class Ledger:
    """A suite's ``suite.json``.

    Attributes:
        suite: its name.
        runs: the directories of its runs, in order.
        failures: by run, why it failed, in a line.
        seconds: by run, from its start to its end, in whole; of the last time that it was started.
    """

    path: Path
    suite: str
    runs: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> Ledger | None:
        """What lies in a suite's folder; None where nothing does.

        Raises:
            UsageError: it was not written by ovbench.
        """
        path = folder / FILE
        if not path.exists():
            return None
        content = read_json(path)
        kinds: dict[str, Any] = {"suite": str, "runs": list, "failures": dict, "seconds": dict}
        if not all(isinstance(content.get(name), kind) for name, kind in kinds.items()):
            raise UsageError(f"{path}: not written by ovbench")
        return cls(
            path,
            content["suite"],
            [str(run) for run in content["runs"]],
            {run: str(why) for run, why in content["failures"].items()},
            {run: s for run, s in content["seconds"].items() if isinstance(s, int | float)},
        )

    @classmethod
    def open(cls, folder: Path, suite: str, runs: Sequence[str]) -> Ledger:
        """The ledger of a suite's folder, with the runs that are asked for now; it is not written.

        Raises:
            UsageError: the folder is another suite's, or the file was not written by ovbench.
        """
        found = cls.read(folder) or cls(folder / FILE, suite)
        if found.suite != suite:
            raise UsageError(
                f"{folder} is the folder of the suite {found.suite!r}; give another --output"
            )
        found.runs = list(runs)
        found.failures = {run: why for run, why in found.failures.items() if run in runs}
        return found

    def write(self) -> None:
        """Write it atomically.

        Raises:
            OvbenchError: it cannot be written.
        """
        ready_folder(self.path)
        content = {
            "schema_version": SCHEMA_VERSION,
            "suite": self.suite,
            "runs": self.runs,
            "failures": self.failures,
            "seconds": self.seconds,
        }
        write_json(self.path, content)
