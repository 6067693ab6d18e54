"""One run of a suite: an ``ovbench run``, and the directory that it has in the suite's folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ovbench.harness.files.below import file_name
from ovbench.harness.files.json_files import digest_of

_LONGEST = 80


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for.

    Attributes:
        benchmark: a dataset, or an alias such as ``"voc20"``.
        preset, names: None for the defaults.
        options: the other options of ``ovbench run`` without their dashes, as texts.
        settings: what ``--set`` says.
        filter_settings: what ``--filter-set`` says.
        names_file: what `names` says, where that is a file, seen from the working directory.
        place: the file and line that ask for it, for messages; it makes no other run of it.
    """

    method: str
    benchmark: str
    preset: str | None = None
    names: str | None = None
    seed: int = 0
    options: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    filter_settings: Mapping[str, str] = field(default_factory=dict)
    names_file: str | None = field(default=None, compare=False)
    place: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        """Of its directory: everything that is not a default stands in it."""
        settings = {**self.settings, **{f"filter.{k}": v for k, v in self.filter_settings.items()}}
        parts = [self.method, self.benchmark]
        parts += [self.preset] if self.preset else []
        parts += ["names", self.names] if self.names else []
        parts += [
            part for pair in sorted(self.options.items()) for part in pair if pair[0] != "root"
        ]
        parts += [f"{name}={value}" for name, value in sorted(settings.items())]
        parts += [f"seed-{self.seed}"] if self.seed else []
        words = "-".join(parts)
        plain = file_name(words.replace("=", "."))
        if len(words) <= _LONGEST:
            return plain
        return f"{plain[: _LONGEST - 9]}-{digest_of(words)[:8]}"

    def arguments(self, folder: Path, root: Path | None, device: str) -> list[str]:
        """The words behind ``ovbench`` that measure it.

        Args:
            folder: of the suite.
            root: of the benchmarks, where it names none of its own.
        """
        words = ["run", "--method", self.method, "--dataset", self.benchmark]
        given = {"preset": self.preset, "names": self.names_file or self.names, **self.options}
        if root is not None:
            given.setdefault("root", str(root))
        if self.seed:
            given["seed"] = str(self.seed)
        if device != "auto":
            given["device"] = device
        for option, value in given.items():
            words += [] if value is None else [f"--{option}", value]
        for option, settings in (("set", self.settings), ("filter-set", self.filter_settings)):
            for name, value in settings.items():
                words += [f"--{option}", f"{name}={value}"]
        return [*words, "--output", str(folder / self.name)]
