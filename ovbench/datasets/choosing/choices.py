"""What a user may choose of a benchmark, refused in one line where there is no such choice."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ovbench.errors import UsageError
from ovbench.harness.contract.datasets import BackgroundRule


@dataclass(frozen=True, slots=True)
class Choices:
    """What a benchmark is opened with; None is the benchmark's own default.

    Attributes:
        root: folder in which the official archives were unpacked.
        split: of the images.
        background: whether background is a class to score or left out.
        names: a set of class names or a file of them; see
            :func:`~ovbench.datasets.names.read_vocabulary`.
        variant: which of several published constructions of the labels.
    """

    root: Path | None = None
    split: str | None = None
    background: BackgroundRule | None = None
    names: str | Path | None = None
    variant: str | None = None

    def folder(self, benchmark: str, content: str) -> Path:
        """The root, which a benchmark with files cannot do without.

        Args:
            content: what lies there.

        Raises:
            UsageError: there is none.
        """
        if self.root is None:
            raise UsageError(
                f"{benchmark} needs --root DIR or OVBENCH_DATA: a folder with {content}"
            )
        return self.root

    def split_of(self, benchmark: str, available: Iterable[str], default: str = "val") -> str:
        """The split asked for, or the default one.

        Raises:
            NoSuchSplitError: the benchmark has no such split.
        """
        try:
            return _one_of(benchmark, "split", self.split or default, available)
        except UsageError as error:
            raise NoSuchSplitError(str(error)) from None

    def variant_of(self, benchmark: str, available: Iterable[str], default: str) -> str:
        """The variant asked for, or the default one.

        Raises:
            UsageError: the benchmark has no such variant.
        """
        return _one_of(benchmark, "variant", self.variant or default, available)

    def background_of(self, benchmark: str) -> BackgroundRule:
        """The rule asked for, by default "class", of a benchmark that labels background.

        Raises:
            UsageError: another rule than "class" and "ignore".
        """
        chosen = self.background or "class"
        if chosen not in ("class", "ignore"):
            raise UsageError(f"{benchmark} has a background: {chosen!r} is not 'class' or 'ignore'")
        return chosen

    def no_background(self, benchmark: str) -> BackgroundRule:
        """The rule "none", of a benchmark that does not label background.

        Raises:
            UsageError: another rule was asked for.
        """
        if self.background not in (None, "none"):
            raise UsageError(f"{benchmark} has no background to {self.background!r}")
        return "none"


class NoSuchSplitError(UsageError):
    """A dataset that has no split of that name, whatever files are there."""


def _one_of(benchmark: str, what: str, chosen: str, available: Iterable[str]) -> str:
    if chosen not in (names := list(available)):
        raise UsageError(f"{benchmark} has no {what} {chosen!r}; it has {', '.join(names)}")
    return chosen
