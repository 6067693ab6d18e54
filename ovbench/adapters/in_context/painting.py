"""What SegGPT and Painter share: one painting per class, of which what is bright is the class's."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import Literal

from torch import Tensor
from torch.nn import functional

from ovbench.adapters.parts.candidates import pairs
from ovbench.adapters.parts.exemplars import require_masks
from ovbench.adapters.parts.joining import ClassMask, ask_each
from ovbench.harness.contract.arrays import Image, LabelMap
from ovbench.harness.contract.stages import stage
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.models.seggpt import Embedding, SegGPT


class Painting:
    """A method that paints the mask of every class below the class's prompt images.

    Attributes:
        checkpoints: of the network.
    """

    def __init__(
        self,
        model: SegGPT,
        *,
        name: str,
        threshold: float,
        enlarging: Literal["nearest", "bilinear"],
        embedding: Embedding = "instance",
    ) -> None:
        """Wrap a network.

        Args:
            name: of the method, for what it refuses.
            threshold: painted brightness, of 0..255, above which a pixel is the object's.
            enlarging: how brightness comes to the picture's size.
            embedding: see :meth:`~ovbench.models.seggpt.SegGPT.paint`.
        """
        self._model, self._name = model, name
        self._threshold, self._enlarging, self._embedding = threshold, enlarging, embedding
        self.checkpoints = model.checkpoints

    def prepare(self, vocabulary: Vocabulary) -> None:
        """Put every class's pictures and masks into the model's form.

        Raises:
            UsageError: a class has no picture, or a picture no mask.
        """
        require_masks(vocabulary, self._name)
        self._vocabulary = vocabulary
        self._prompts = [
            self._model.encode_prompts(query.exemplars) for query in vocabulary.classes
        ]

    def segment(
        self, images: Sequence[Image], candidates: Sequence[Collection[int]] | None = None
    ) -> list[LabelMap]:
        """See :class:`~ovbench.Segmenter`; images are computed one by one."""
        return [self._answer(image, chosen) for image, chosen in pairs(images, candidates)]

    def _answer(self, image: Image, candidates: Collection[int] | None) -> LabelMap:
        with stage("preprocess"):
            picture = self._model.encode(image)
        height, width, _ = image.shape
        look_for = partial(self._look_for, picture, (height, width))
        return ask_each(look_for, self._vocabulary, candidates, (height, width))

    def _look_for(self, picture: Tensor, size: tuple[int, int], index: int) -> ClassMask:
        with stage("paint"):
            painted = self._model.paint(picture, self._prompts[index], self._embedding)
        bright = painted > self._threshold
        score = float(painted[bright].mean()) if bright.any() else 0.0
        mask = functional.interpolate(painted[None, None], size, mode=self._enlarging)
        return ClassMask((mask[0, 0] > self._threshold).cpu().numpy(), score)
