"""Build a registered class filter, or wrap one that is not registered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ovbench.errors import ContractError
from ovbench.harness.contract.checks.typed import public
from ovbench.harness.contract.datasets import Sample
from ovbench.harness.contract.filters import ClassFilter, ClassFilterClass
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.harness.contract.settings import override, settings_of
from ovbench.harness.contract.stages import stage
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.harness.registry.methods import UNREGISTERED, package_version
from ovbench.harness.registry.names import FILTERS
from ovbench.harness.registry.sources import code_of, code_of_entry


@dataclass(frozen=True, slots=True)
class Filter:
    """A class filter with everything that identifies it in a result.

    Attributes:
        name: as registered, or the class's name.
        version: of the package that provides it.
        settings: resolved, JSON-ready.
        checkpoints: the weights it loaded.
        code: as of a :class:`~ovbench.harness.registry.methods.Subject`.
    """

    chooser: ClassFilter
    name: str
    version: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    checkpoints: tuple[CheckpointRecord, ...] = ()
    code: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, chooser: ClassFilter, name: str = "", version: str = UNREGISTERED) -> Filter:
        """Wrap a filter; its ``checkpoints`` are recorded if it has any, and its settings as
        :func:`~ovbench.harness.contract.settings.settings_of` says."""
        return cls(
            chooser,
            name or type(chooser).__name__,
            version,
            settings_of(chooser),
            tuple(getattr(chooser, "checkpoints", ())),
            code_of(type(chooser)),
        )

    def identity(self) -> dict[str, Any]:
        """What a run's identity and its result say of it."""
        return {
            "name": self.name,
            "version": self.version,
            "settings": dict(self.settings),
            "checkpoints": [asdict(checkpoint) for checkpoint in self.checkpoints],
        }

    def prepare(self, vocabulary: Vocabulary) -> None:
        """Prepare for a vocabulary, as a stage of its own."""
        with stage("filter"):
            self.chooser.prepare(vocabulary)

    def select(self, samples: Sequence[Sample], vocabulary: Vocabulary) -> list[tuple[int, ...]]:
        """The classes of every sample's image, ascending; the filter sees nothing but the image.

        Raises:
            ContractError: not one answer per image, an empty one, or a label that is no class.
        """
        with stage("filter"):
            answers = self.chooser.select([sample.image for sample in samples])
        if len(answers) != len(samples):
            raise ContractError(
                f"class filter {self.name}: {len(samples)} images were given, "
                f"{len(answers)} answers came back"
            )
        classes = range(vocabulary.offset, len(vocabulary))
        chosen = [tuple(sorted({int(label) for label in answer})) for answer in answers]
        for sample, labels in zip(samples, chosen, strict=True):
            if not labels:
                raise ContractError(f"image {sample.id}: class filter {self.name} chose no class")
            if strays := [label for label in labels if label not in classes]:
                raise ContractError(
                    f"image {sample.id}: class filter {self.name} chose {strays}; classes are "
                    f"the labels {classes.start} to {classes.stop - 1}"
                )
        return chosen


@public
def load_filter(
    name: str = "clip",
    *,
    settings: Mapping[str, Any] | None = None,
    runtime: Runtime | None = None,
) -> Filter:
    """Build a registered class filter and load its weights.

    Args:
        name: as registered; "clip" comes with the package.
        settings: values that replace the defaults; strings are parsed.
        runtime: that of the method it works for, ``method.subject.runtime``.

    Raises:
        UsageError: unknown name or setting, an argument of another kind, or missing weights.
        OvbenchError: the filter ends the program.
    """
    entry = FILTERS.entry(name)
    filter_class: ClassFilterClass = FILTERS.load(name)
    chosen = override(filter_class.Settings, settings or {})
    chooser = filter_class(chosen, runtime or Runtime())
    built = Filter.of(chooser, name, package_version(entry.package))
    return replace(built, code={**built.code, **code_of_entry(entry)})
