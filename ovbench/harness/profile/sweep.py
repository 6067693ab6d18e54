"""What methods cost over batch sizes, image sizes and precisions.

Every configuration is measured in a process of its own, so that no peak of memory is
another's and a configuration that crashes is a row that says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast, get_args

from ovbench.errors import UsageError
from ovbench.harness.contract.checks.whole import whole_number
from ovbench.harness.contract.datasets import Dataset, Sample
from ovbench.harness.contract.runtime import CheckpointFlavour, Precision, Runtime
from ovbench.harness.contract.version import PROTOCOL_VERSION
from ovbench.harness.files.json_files import is_sealed, read_json, sealed, write_json
from ovbench.harness.profile.image_size import ImageSize
from ovbench.harness.profile.isolated import call_isolated
from ovbench.harness.profile.timing import Job, figures
from ovbench.harness.registry.methods import choose_method, resolve_device
from ovbench.harness.registry.names import METHODS
from ovbench.harness.registry.sources import code_of_entry
from ovbench.harness.results.environment import device_name, environment
from ovbench.harness.results.identity import code_of_dataset, data_conditions
from ovbench.harness.results.store import differences, essence

PROFILE_SCHEMA_VERSION = 1
"""Of the document that :meth:`Sweep.execute` returns."""

T = TypeVar("T")


class Observer(Protocol):
    """Watches a sweep, to show its progress."""

    def started(self, remaining: int, total: int) -> None:
        """``remaining`` of the sweep's ``total`` configurations are about to be measured."""

    def advance(self, note: str) -> None:
        """One more configuration is done; ``note`` says which and what was found."""


@dataclass(frozen=True, slots=True)
class Grid:
    """The configurations: every combination of these.

    Attributes:
        sizes: None stands for the pictures' own.
    """

    methods: Sequence[str]
    batch_sizes: Sequence[int] = (1, 2, 4)
    sizes: Sequence[ImageSize | None] = (None,)
    precisions: Sequence[Precision] = ("fp32",)

    @classmethod
    def parse(cls, methods: Sequence[str], batch_sizes: str, sizes: str, precisions: str) -> Grid:
        """Read comma-separated lists.

        Raises:
            UsageError: an item that is none, or the same one twice.
        """
        return cls(
            _distinct("method", methods, str),
            _distinct("batch size", batch_sizes.split(","), _batch_size),
            _distinct("size", sizes.split(","), ImageSize.parse),
            _distinct("precision", precisions.split(","), _precision),
        )

    def __iter__(self) -> Iterator[Configuration]:
        """In the order in which they are measured."""
        for values in product(self.methods, self.precisions, self.sizes, self.batch_sizes):
            yield Configuration(*values)

    def words(self) -> dict[str, list[Any]]:
        """The lists, JSON-ready."""
        return {
            "methods": list(self.methods),
            "batch_sizes": list(self.batch_sizes),
            "sizes": [_size_words(size) for size in self.sizes],
            "precisions": list(self.precisions),
        }


@dataclass(frozen=True, slots=True)
class Configuration:
    """One row of a sweep."""

    method: str
    precision: Precision
    size: ImageSize | None
    batch_size: int

    def columns(self) -> dict[str, Any]:
        """What identifies the row, JSON-ready."""
        return {
            "method": self.method,
            "precision": self.precision,
            "size": _size_words(self.size),
            "batch_size": self.batch_size,
        }


@dataclass(frozen=True, slots=True)
class Options:
    """What all configurations share.

    Attributes:
        preset, settings: as :func:`~ovbench.harness.registry.methods.load_method` takes them, for
            every method; "published" is that of the sweep's dataset.
        limit: the first images of the dataset are used, so many at most.
        warmup: batches before the measured ones; they pay for lazy initialisation.
        repeats: measured batches.
        command: as typed, for the document.
    """

    preset: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    device: str = "auto"
    checkpoints: CheckpointFlavour = "real"
    seed: int = 0
    limit: int = 16
    warmup: int = 2
    repeats: int = 10
    command: str = ""


@dataclass(frozen=True, slots=True)
class Sweep:
    """A measurement of every configuration of a grid."""

    grid: Grid
    dataset: Dataset
    options: Options
    observer: Observer | None = None

    def execute(self, output: Path | None = None) -> dict[str, Any]:
        """Measure, or finish what was cut short.

        Args:
            output: a JSON file, written anew after every configuration. Configurations that
                it holds already are not measured again, unless they failed.

        Returns:
            The document, as docs/profiling.md describes it.

        Raises:
            UsageError: an unknown method, preset or setting, a device that is not there, data
                that is missing, or an output that holds another profile or cannot be written.
        """
        configurations = list(self.grid)
        document = self._document()
        device = document["conditions"]["device"]
        rows = {} if output is None else _measured_before(output, document, configurations)
        pending = [c for c in configurations if c not in rows]
        samples = self._samples() if pending else []
        if self.observer:
            self.observer.started(len(pending), len(configurations))
        for configuration in pending:
            rows[configuration] = row = self._measure(configuration, device, samples)
            if output is not None:
                write_json(output, _filled(document, rows, configurations))
            if self.observer:
                self.observer.advance(_words(row))
        return _filled(document, rows, configurations)

    def _document(self) -> dict[str, Any]:
        """Everything but the rows."""
        options, ids = self.options, self.dataset.ids[: self.options.limit]
        if not ids:
            raise UsageError(f"{self.dataset.info.name}: no images to measure on")
        asked = options.preset, options.settings, self.dataset.info
        choices = {name: choose_method(name, *asked) for name in self.grid.methods}
        device = resolve_device(options.device)
        return {
            "schema_version": PROFILE_SCHEMA_VERSION,
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": options.command,
            "conditions": {
                "protocol_version": PROTOCOL_VERSION,
                "methods": {
                    name: {
                        "version": choice.version,
                        "preset": options.preset,
                        "changes": dict(choice.changes),
                        "code": {
                            **code_of_entry(METHODS.entry(name)),
                            **code_of_dataset(self.dataset),
                        },
                    }
                    for name, choice in choices.items()
                },
                "grid": self.grid.words(),
                **data_conditions(self.dataset, ids),
                "device": device,
                "device_name": device_name(device),
                "checkpoints": options.checkpoints,
                "seed": options.seed,
                "warmup": options.warmup,
                "repeats": options.repeats,
            },
            "environment": environment(device),
        }

    def _samples(self) -> list[Sample]:
        count = min(len(self.dataset.ids), self.options.limit)
        return [self.dataset.load(index) for index in range(count)]

    def _measure(
        self, configuration: Configuration, device: str, samples: Sequence[Sample]
    ) -> dict[str, Any]:
        """One row of the document."""
        options = self.options
        job = Job(
            configuration.method,
            options.preset,
            options.settings,
            Runtime(device, configuration.precision, options.checkpoints, options.seed),
            self.dataset.vocabulary,
            samples,
            self.dataset.info,
            configuration.size,
            configuration.batch_size,
            options.warmup,
            options.repeats,
        )
        outcome = call_isolated(figures, job)
        return {
            **configuration.columns(),
            "status": outcome.status,
            "reason": outcome.reason,
            "figures": outcome.answer,
        }


def _filled(
    document: Mapping[str, Any],
    rows: Mapping[Configuration, Mapping[str, Any]],
    configurations: Sequence[Configuration],
) -> dict[str, Any]:
    """The document with the rows so far, in the grid's order."""
    present = [rows[c] for c in configurations if c in rows]
    complete = len(present) == len(configurations)
    return sealed({**document, "complete": complete, "rows": present})


def _measured_before(
    output: Path, document: Mapping[str, Any], configurations: Sequence[Configuration]
) -> dict[Configuration, dict[str, Any]]:
    """The rows with figures that ``output`` holds, if it is this sweep's."""
    if not output.exists():
        return {}
    before = read_json(output)
    if before.get("schema_version") == PROFILE_SCHEMA_VERSION and not is_sealed(before):
        raise UsageError(f"{output}: not as it was written, its digest differs; delete it")
    shared = ("schema_version", "conditions", "environment")
    ours, theirs = ({key: _bare(d.get(key)) for key in shared} for d in (document, before))
    if ours != theirs:
        changed = ", ".join(sorted(differences(ours, theirs)))
        raise UsageError(
            f"{output} holds another profile (differs in: {changed}); "
            "give another --output or delete it"
        )
    return {
        configuration: row
        for configuration in configurations
        for row in before.get("rows", [])
        if row["status"] == "ok" and configuration.columns().items() <= row.items()
    }


def _bare(part: Any) -> Any:
    """Without the names of what is known by its content."""
    return essence(part) if isinstance(part, Mapping) else part


def _words(row: Mapping[str, Any]) -> str:
    """A row in short, for progress."""
    what = f"{row['method']} {row['precision']} {row['size']} batch {row['batch_size']}"
    if row["figures"] is None:
        return f"{what}: {row['reason']}"
    return f"{what}: {row['figures']['latency_s']['median']:.3g} s"


def _size_words(size: ImageSize | None) -> str:
    return "native" if size is None else str(size)


def _batch_size(text: str) -> int:
    if not (size := whole_number(text)):
        raise UsageError(f"batch size {text[:40]!r}: must be a whole number, at least 1")
    return size


def _precision(text: str) -> Precision:
    for known in get_args(Precision):
        if text == known:
            return cast(Precision, known)
    raise UsageError(f"precision {text!r}: there are {', '.join(get_args(Precision))}")


def _distinct(what: str, items: Sequence[str], parse: Callable[[str], T]) -> tuple[T, ...]:
    parsed = tuple(parse(item.strip()) for item in items)
    if len(set(parsed)) < len(parsed):
        raise UsageError(f"{what}: each once, not {', '.join(items)}")
    return parsed
