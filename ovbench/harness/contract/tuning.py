"""The contract between a method that can be tuned and the search that tunes it.

A registered method offers a tuner as ``tuner(settings, runtime)``, a static or class method
that returns a :class:`Tuner`. Tuning sees images and the names of the classes in them, never
a pixel's label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.runtime import CheckpointRecord
from ovbench.harness.contract.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Phase:
    """Settings that are searched together; later phases keep the best of the earlier ones.

    Attributes:
        name: such as ``"maps"``.
        choices: from a setting's name to the values to try; values are JSON-ready.
    """

    name: str
    choices: Mapping[str, Sequence[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """An image and what it shows.

    Attributes:
        id: of the sample.
        image: RGB, ``(H, W, 3)`` uint8, at original size.
        present: labels of the classes in it, ascending; background is not among them.
    """

    id: str
    image: Image
    present: tuple[int, ...]


class Tuner(Protocol):
    """Judges settings of one method.

    Attributes:
        checkpoints: the weights it loaded.
        phases: what to search, in order.
    """

    checkpoints: tuple[CheckpointRecord, ...]
    phases: Sequence[Phase]

    def prepare(self, vocabulary: Vocabulary) -> None:
        """Do what is done once per vocabulary."""
        ...

    def rewards(self, values: Mapping[str, Any], examples: Sequence[Example]) -> Sequence[float]:
        """How well the method does on each example; more is better.

        Args:
            values: from names to values, of the phase that is searched and of those before it;
                the other settings are those the tuner was built with.
            examples: sizes may differ.

        Returns:
            One finite number per example.
        """
        ...
