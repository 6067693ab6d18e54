"""SegGPT as a method: the mask that the model paints below each class's prompt images.

Wang et al., "SegGPT: Segmenting Everything In Context" (ICCV 2023); released code:
github.com/baaivision/Painter, SegGPT/SegGPT_inference. Its evaluation on COCO-20i and FSS-1000
was not released.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from ovbench.adapters.parts.candidates import pairs
from ovbench.adapters.parts.exemplars import require_masks
from ovbench.adapters.parts.joining import ClassMask, ask_each
from ovbench.harness.contract.arrays import Image, LabelMap
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import setting
from ovbench.harness.contract.stages import stage
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.models.seggpt import Embedding, load_seggpt


@dataclass(frozen=True)
class SegGPTSettings:
    """Settings of :class:`SegGPTMethod`."""

    weights: str = setting(
        "seggpt_vit_large", "released code and paper", "of the catalogue, or a hub id"
    )
    embedding: Embedding = setting(
        "instance",
        "released code, seggpt_inference.py, and transformers: their default",
        "which token tells the model what it is asked for",
    )
    threshold: float = setting(
        128.0,
        "released code, seggpt_engine.py, where it masks the frames of a film",
        "painted brightness, of 0..255, above which a pixel is the object's",
    )


class SegGPTMethod:
    """One painting per class; what is bright enough is the class's."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="SegGPT: paints the mask that the prompt's mask is like",
        kind="image-prompted",
        paper="Wang et al., ICCV",
        year=2023,
        backbones=("SegGPT",),
        weights=("seggpt/seggpt_vit_large",),
        code_licence="mit",
    )
    Settings = SegGPTSettings
    needs_exemplars = True

    def __init__(self, settings: SegGPTSettings, runtime: Runtime) -> None:
        """Load the weights.

        Raises:
            UsageError: weights that cannot be had.
        """
        self.settings = settings
        self._model = load_seggpt(settings.weights, runtime)
        self.checkpoints = self._model.checkpoints

    def prepare(self, vocabulary: Vocabulary) -> None:
        """Put every class's pictures and masks into the model's form.

        Raises:
            UsageError: a class has no picture, or a picture no mask.
        """
        require_masks(vocabulary, "seggpt")
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
            brightness = self._model.paint(picture, self._prompts[index], self.settings.embedding)
        bright = brightness > self.settings.threshold
        score = float(brightness[bright].mean()) if bright.any() else 0.0
        # Nearest, as in the released code and in transformers.
        mask = functional.interpolate(bright[None, None].float(), size, mode="nearest")
        return ClassMask(mask[0, 0].bool().cpu().numpy(), score)
