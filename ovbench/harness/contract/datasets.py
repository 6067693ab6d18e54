"""What a benchmark promises: samples with ground truth, and what a result says of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from ovbench.harness.contract.arrays import Image, LabelMap
from ovbench.harness.contract.vocabulary import Vocabulary

BackgroundRule: TypeAlias = Literal["class", "ignore", "none"]
"""What is scored of background; see :class:`DatasetInfo`."""


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """What a method is asked for on one image of an image-prompted benchmark.

    Attributes:
        id: equal for samples that share the prompt, and only for these.
        vocabulary: usually a background and one class with its exemplars.
        labels: for each of its labels, the label of the dataset's vocabulary that it stands
            for, ``(len(vocabulary),)``.
    """

    id: str
    vocabulary: Vocabulary
    labels: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One image with its ground truth.

    Attributes:
        id: unique within the dataset and stable across machines.
        image: RGB, ``(H, W, 3)`` uint8, at original size.
        label: ``(H, W)`` unsigned, values index the dataset's vocabulary or equal its ignore
            label.
        prompt: what to ask a method for on this image, or None where it is the dataset's
            whole vocabulary.
    """

    id: str
    image: Image
    label: LabelMap
    prompt: Prompt | None = None


@dataclass(frozen=True, slots=True)
class PromptSource:
    """Where the exemplars of a dataset's vocabulary come from.

    Attributes:
        source: a folder's name, or the split they were drawn from.
        shots: how many were drawn for each class, or None where a user chose them.
        pictures: for each class the names of its pictures.
        left_out: images of the split that are among them, and are therefore not measured.
    """

    source: str
    shots: int | None
    pictures: tuple[tuple[str, ...], ...]
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """What a result must say of the data it was measured on.

    Attributes:
        name: the benchmark, such as ``"voc"``.
        split: such as ``"val"``.
        background: "class" where background is a label, "ignore" where the benchmark has one
            and its pixels are left out, "none" where the benchmark has none.
        ignore_label: the label value whose pixels are not scored.
        expected_images: the official size of the split, or None where there is none.
        rendered: True for scenes drawn by the package, on which the miniature checkpoints
            are at home.
        variant: which of several published constructions of the labels, or None where there
            is one.
        subset: a named part of the classes that is measured alone, or None.
        scored: the labels that mIoU and the other scores average over, or None for all.
        prompted: True where every sample has a prompt of its own.
        prompts: where the vocabulary's exemplars come from, or None where it has none.
    """

    name: str
    split: str
    background: BackgroundRule
    ignore_label: int = 255
    expected_images: int | None = None
    rendered: bool = False
    variant: str | None = None
    subset: str | None = None
    scored: tuple[int, ...] | None = None
    prompted: bool = False
    prompts: PromptSource | None = None

    def count_warnings(self, found: int) -> list[str]:
        """What a result must say where the number of images is not the official one."""
        shown = len(self.prompts.left_out) if self.prompts else 0
        said = []
        if shown:
            said.append(f"{shown} images of {self.name} {self.split} are prompts, so not measured")
        if self.expected_images not in (None, found + shown):
            said.append(
                f"{self.name} {self.split} has {found + shown} images here; the official list has "
                f"{self.expected_images}"
            )
        return said


@runtime_checkable
class Dataset(Protocol):
    """Random access to the samples of one split; its attributes do not change."""

    @property
    def info(self) -> DatasetInfo:
        """What a result says of the data."""
        ...

    @property
    def vocabulary(self) -> Vocabulary:
        """What a method is asked for."""
        ...

    @property
    def ids(self) -> Sequence[str]:
        """The images, in the order of evaluation."""
        ...

    def load(self, index: int) -> Sample:
        """Read sample ``index`` (of ``ids``); called from several threads at once.

        Raises:
            DataError: the file is missing, corrupt or inconsistent; names it.
        """
        ...

    def decode(self, raw: LabelMap, source: Path) -> LabelMap:
        """Turn labels as the benchmark's own files encode them into labels of the vocabulary.

        Args:
            raw: ``(H, W)``, as stored; ``source`` is the file it came from.

        Raises:
            DataError: a value the benchmark does not know; names the file.
        """
        ...
