"""The contract between methods, datasets and the runner.

Labels are indices into a :class:`Vocabulary`. With a background label the index 0 is the
background and class ``i`` is label ``i + 1``; without one, class ``i`` is label ``i``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from ovbench.errors import UsageError
from ovbench.harness.contract.twins import fault_in_names
from ovbench.harness.contract.typed import check_types

Image: TypeAlias = npt.NDArray[np.uint8]
"""An RGB image, ``(H, W, 3)`` uint8."""

LabelMap: TypeAlias = npt.NDArray[np.unsignedinteger[Any]]
"""Labels, ``(H, W)``, unsigned; values index the vocabulary."""

Kind: TypeAlias = Literal["thing", "stuff"]
Precision: TypeAlias = Literal["fp32", "bf16", "fp16"]
CheckpointFlavour: TypeAlias = Literal["toy", "real"]
BackgroundRule: TypeAlias = Literal["class", "ignore", "none"]

LABEL_FILES = "label files"
"""A result's method version where no method ran: label maps made elsewhere were scored."""

PROTOCOL_VERSION = 2
"""Part of every run's identity; raised when the harness changes what a number means."""


@dataclass(frozen=True, slots=True, eq=False)
class Exemplar:
    """A prompt image that shows a class, for image-prompted methods.

    Attributes:
        image: RGB, ``(H, W, 3)`` uint8.
        mask: ``(H, W)`` bool, the object's pixels, or None where the method must find them.
    """

    image: Image
    mask: npt.NDArray[np.bool_] | None = None

    @property
    def sha256(self) -> str:
        """A digest of the picture and of its mask."""
        digest = hashlib.sha256(f"{self.image.shape}".encode())
        digest.update(np.ascontiguousarray(self.image).tobytes())
        if self.mask is not None:
            digest.update(b"mask" + np.ascontiguousarray(self.mask).tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class ClassQuery:
    """One class as a method is asked for it.

    Attributes:
        name: the first text query, and the name shown in tables.
        synonyms: further text queries for the same class; a method answers with the class
            if any of them wins.
        kind: "thing", "stuff" or None where the benchmark does not say.
        exemplars: prompt images, for methods that are prompted by image.
        title: the name shown in tables where it is another one than the first text query.
    """

    name: str
    synonyms: tuple[str, ...] = ()
    kind: Kind | None = None
    exemplars: tuple[Exemplar, ...] = field(default=(), compare=False)
    title: str | None = None

    @property
    def queries(self) -> tuple[str, ...]:
        """The name and its synonyms."""
        return (self.name, *self.synonyms)


@dataclass(frozen=True, slots=True)
class Background:
    """The background label: everything that is none of the classes.

    Attributes:
        queries: texts that describe background; a method may use them or apply a rule of
            its own (a threshold, prototypes).
        name: the name shown in tables.
    """

    queries: tuple[str, ...] = ("background",)
    name: str = "background"


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """An ordered set of classes and, where the benchmark has one, a background.

    Attributes:
        classes: in label order.
        background: None where every pixel belongs to a class or is ignored.
        source: where the names come from, such as ``"voc/plain"`` or a file's name.
        ambiguous: whether one text may stand for several classes, as in some published sets.

    Raises:
        UsageError: an empty name, two labels of one name (whatever its case), or a text that
            stands for two classes of a vocabulary that is not ambiguous.
    """

    classes: tuple[ClassQuery, ...]
    background: Background | None = None
    source: str = "custom"
    ambiguous: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        behind = () if self.background is None else ((),)
        texts = (*behind, *(query.queries for query in self.classes))
        fault = fault_in_names(
            self.names, texts, ambiguous=self.ambiguous, place=lambda label: f"label {label}"
        )
        if fault:
            raise UsageError(f"vocabulary {self.source}: {fault}")

    @classmethod
    def of(cls, *names: str, background: bool = False) -> Vocabulary:
        """A vocabulary of plain names, in order."""
        return cls(tuple(ClassQuery(n) for n in names), Background() if background else None)

    @property
    def offset(self) -> int:
        """The label of the first class: 1 behind a background label, else 0."""
        return 0 if self.background is None else 1

    def __len__(self) -> int:
        """The number of labels, background included."""
        return len(self.classes) + self.offset

    @property
    def names(self) -> tuple[str, ...]:
        """One name per label, background included."""
        classes = tuple(c.name if c.title is None else c.title for c in self.classes)
        return classes if self.background is None else (self.background.name, *classes)

    @property
    def queries(self) -> tuple[tuple[str, int], ...]:
        """Every text query with the label it stands for, background's first."""
        pairs = [(text, 0) for text in self.background.queries] if self.background else []
        for label, query in enumerate(self.classes, start=self.offset):
            pairs += [(text, label) for text in query.queries]
        return tuple(pairs)

    @property
    def label_dtype(self) -> np.dtype[np.unsignedinteger[Any]]:
        """uint8 up to 255 labels (255 itself stays free to mean "ignore"), else uint16."""
        return np.dtype(np.uint8 if len(self) <= 255 else np.uint16)

    @property
    def sha256(self) -> str:
        """A digest of every text a method is asked with, in order."""
        return hashlib.sha256(json.dumps(self.texts, ensure_ascii=False).encode()).hexdigest()

    @property
    def texts(self) -> dict[str, Any]:
        """Every text a method is asked with, in order; JSON-ready."""
        return {
            "background": None if self.background is None else list(self.background.queries),
            "classes": [list(c.queries) for c in self.classes],
        }

    @property
    def exemplars_sha256(self) -> str | None:
        """A digest of every exemplar's picture and mask, in order; None where there are none."""
        if not any(query.exemplars for query in self.classes):
            return None
        digest = hashlib.sha256()
        for query in self.classes:
            digest.update(f"class of {len(query.exemplars)}".encode())
            for shown in query.exemplars:
                digest.update(shown.sha256.encode())
        return digest.hexdigest()


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


@runtime_checkable
class Segmenter(Protocol):
    """An open-vocabulary segmenter.

    A method that is registered is a class called as ``Method(settings, runtime)`` with a
    frozen dataclass ``Settings`` (see :mod:`ovbench.harness.contract.settings`) and optionally
    ``presets``, a mapping from a name to the settings it changes, and ``tuner(settings,
    runtime)``, which returns a :class:`~ovbench.harness.contract.tuning.Tuner`. It may have attributes:
    ``checkpoints``, the :class:`CheckpointRecord` of everything it loaded; ``settings``, with
    what depends on the weights filled in; ``notes``, what a result should say of ``prepare``;
    ``needs_exemplars``, True where every class must be shown by a picture.
    """

    def prepare(self, vocabulary: Vocabulary) -> None:
        """Do what is done once per vocabulary; a later call replaces an earlier one."""
        ...

    def segment(
        self,
        images: Sequence[Image],
        candidates: Sequence[Collection[int]] | None = None,
    ) -> Sequence[LabelMap]:
        """Label every pixel of every image.

        Args:
            images: RGB uint8 at original size; sizes may differ.
            candidates: per image the labels to answer within (background is always
                allowed), or None for the whole vocabulary.

        Returns:
            One label map per image, at the image's size, values index the vocabulary. The
            answer to an image does not depend on the others in the batch.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """One reason why a pixel has its label.

    Attributes:
        source: what saw it, such as the name of a feature space.
        finding: what it found, in a few words.
        similarity: of the pixel to that, in the method's own measure.
        exhibits: pictures that show it, each with the region that counts.
    """

    source: str
    finding: str
    similarity: float
    exhibits: tuple[Exemplar, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """Why a pixel has its label.

    Attributes:
        label: the method's answer there.
        evidence: strongest first.
    """

    label: int
    evidence: tuple[Evidence, ...]


@runtime_checkable
class Explaining(Protocol):
    """A :class:`Segmenter` that can say why, for ``ovbench explain``."""

    def explain(self, image: Image, x: int, y: int) -> Explanation:
        """Why :meth:`Segmenter.segment` answers as it does at one pixel.

        Called after ``prepare``, about the whole vocabulary.

        Args:
            image: RGB uint8 at original size.
            x, y: of the pixel, from the left and from the top, within the image.
        """
        ...


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


class SegmenterClass(Protocol):
    """What a method's registry entry resolves to."""

    Settings: ClassVar[type[Any]]

    def __call__(self, settings: Any, runtime: Runtime) -> Segmenter:
        """Build the method and load its weights."""
        ...


class ClassFilterClass(Protocol):
    """What a class filter's registry entry resolves to."""

    Settings: ClassVar[type[Any]]

    def __call__(self, settings: Any, runtime: Runtime) -> ClassFilter:
        """Build the filter and load its weights."""
        ...
