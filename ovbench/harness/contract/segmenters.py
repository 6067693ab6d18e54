"""What a method promises."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

from ovbench.harness.contract.arrays import Image, LabelMap
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.vocabulary import Vocabulary


@runtime_checkable
class Segmenter(Protocol):
    """An open-vocabulary segmenter.

    A method that is registered is a class called as ``Method(settings, runtime)`` with a
    frozen dataclass ``Settings`` (see :mod:`ovbench.harness.contract.settings`) and optionally
    ``presets``, a mapping from a name to the settings it changes, ``published``, rows of
    :class:`~ovbench.harness.contract.published.Published`, and ``tuner(settings,
    runtime)``, which returns a
    :class:`~ovbench.harness.contract.tuning.Tuner`. It may have attributes:
    ``checkpoints``, the :class:`CheckpointRecord` of everything it loaded; ``settings``, with
    what depends on the weights filled in; ``notes``, what a result should say of ``prepare``;
    ``needs_exemplars``, True where every class must be shown by a picture; ``card``, a
    :class:`~ovbench.harness.contract.card.MethodCard` for ``ovbench list methods``.
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


class SegmenterClass(Protocol):
    """What a method's registry entry resolves to."""

    Settings: ClassVar[type[Any]]

    def __call__(self, settings: Any, runtime: Runtime) -> Segmenter:
        """Build the method and load its weights."""
        ...
