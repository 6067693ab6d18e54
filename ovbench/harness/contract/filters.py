"""What a class filter promises."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.vocabulary import Vocabulary


@runtime_checkable
class ClassFilter(Protocol):
    """Says which classes an image holds, so that a method may answer within them.

    One that is registered is a class called as ``Filter(settings, runtime)`` with a frozen
    dataclass ``Settings``, and may have an attribute ``checkpoints``, as a :class:`Segmenter`.
    """

    def prepare(self, vocabulary: Vocabulary) -> None:
        """Do what is done once per vocabulary; a later call replaces an earlier one."""
        ...

    def select(self, images: Sequence[Image]) -> Sequence[Collection[int]]:
        """Name the classes of every image.

        Args:
            images: RGB uint8 at original size; sizes may differ.

        Returns:
            Per image the labels of at least one class; background is not among them, as a
            method may always answer with it.
        """
        ...


class ClassFilterClass(Protocol):
    """What a class filter's registry entry resolves to."""

    Settings: ClassVar[type[Any]]

    def __call__(self, settings: Any, runtime: Runtime) -> ClassFilter:
        """Build the filter and load its weights."""
        ...
