"""What a method is asked for: classes and background, by name and by picture.

Labels are indices into a :class:`Vocabulary`. With a background label the index 0 is the
background and class ``i`` is label ``i + 1``; without one, class ``i`` is label ``i``.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from ovbench.errors import UsageError
from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.checks.twins import fault_in_names
from ovbench.harness.contract.checks.typed import check_types

Kind: TypeAlias = Literal["thing", "stuff"]
"""Whether a class is of objects that can be counted, or of what has no shape of its own."""


@dataclass(frozen=True, slots=True, eq=False)
class Exemplar:
    """A prompt image that shows a class, for image-prompted methods.

    Attributes:
        image: RGB, ``(H, W, 3)`` uint8.
        mask: ``(H, W)`` bool, the object's pixels, or None where the method must find them.
    """

    image: Image
    mask: npt.NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        check_types(self)

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

    def __post_init__(self) -> None:
        check_types(self)

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

    def __post_init__(self) -> None:
        check_types(self)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """An ordered set of classes and, where the benchmark has one, a background.

    Attributes:
        classes: in label order.
        background: None where every pixel belongs to a class or is ignored.
        source: where the names come from, such as ``"voc/plain"`` or a file's name.
        ambiguous: whether one text may stand for several classes, as in some published sets.
        known_as: every name of a packaged set, as equal ones are kept once; empty for others.

    Raises:
        UsageError: a value of another type, an empty name, two labels of one name (whatever its
            case), or a text that stands for two classes of a vocabulary that is not ambiguous.
    """

    classes: tuple[ClassQuery, ...]
    background: Background | None = None
    source: str = "custom"
    ambiguous: bool = field(default=False, compare=False)
    known_as: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        check_types(self)
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
    def query_texts(self) -> list[str]:
        """The texts of :attr:`queries`."""
        return [text for text, _ in self.queries]

    @property
    def query_labels(self) -> npt.NDArray[np.intp]:
        """The labels of :attr:`queries`, ``(Q,)``."""
        return np.array([label for _, label in self.queries], dtype=np.intp)

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
