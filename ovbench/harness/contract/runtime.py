"""Where and how a method computes, and which weights it did it with."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Literal, TypeAlias

from ovbench.errors import UsageError
from ovbench.harness.contract.checks.typed import check_types

Precision: TypeAlias = Literal["fp32", "bf16", "fp16"]
"""In which numbers networks compute."""

CheckpointFlavour: TypeAlias = Literal["toy", "real"]


@dataclass(frozen=True, slots=True)
class CheckpointRecord:
    """Which weights a method used.

    Attributes:
        role: what they are for, such as ``"clip"``.
        name: a hub id, a file's name or a packaged miniature's name.
        revision: the hub commit they were resolved to, or None where there is none.
        sha256: of the weight file.
    """

    role: str
    name: str
    revision: str | None
    sha256: str | None


def flavour_on(choice: Literal["auto", "toy", "real"], rendered: bool) -> CheckpointFlavour:
    """Which weights a choice means on a dataset.

    Args:
        rendered: it is one on which the miniatures are at home.
    """
    if choice == "auto":
        return "toy" if rendered else "real"
    return choice


SEEDS = 2**32
"""Seeds are whole numbers below this: what every generator takes."""


def checked_seed(seed: int) -> int:
    """A seed that can be used.

    Raises:
        UsageError: not a whole number from 0 to 4294967295.
    """
    if not isinstance(seed, Integral) or not 0 <= seed < SEEDS:
        raise UsageError(f"seed {seed}: must be a whole number from 0 to {SEEDS - 1}")
    return int(seed)


@dataclass(frozen=True, slots=True)
class Runtime:
    """Where and how a method computes; the same for every method of a comparison.

    Attributes:
        device: a torch device string, such as ``"cpu"`` or ``"cuda:0"``.
        precision: of the networks' arithmetic.
        checkpoints: which weights the loaders in :mod:`ovbench.models` hand out. A method
            passes this on and never looks at it.
        seed: for every random choice a method makes.

    Raises:
        UsageError: a seed that is none, see :func:`checked_seed`, or a value of another type.
    """

    device: str = "cpu"
    precision: Precision = "fp32"
    checkpoints: CheckpointFlavour = "real"
    seed: int = 0

    def __post_init__(self) -> None:
        checked_seed(self.seed)
        check_types(self)
