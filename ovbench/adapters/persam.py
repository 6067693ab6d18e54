"""PerSAM: SAM is told what to look for by one picture, and nothing is trained.

Zhang et al., "Personalize Segment Anything Model with One Shot" (ICLR 2024); released code:
github.com/ZrrSkywalker/Personalize-SAM, persam.py. The variant that trains two numbers per
object, PerSAM-F, is not here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
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
from ovbench.harness.contract.vocabulary import ClassQuery, Exemplar, Vocabulary
from ovbench.models.sam.guidance import Guidance
from ovbench.models.sam.model import Sam, load_sam
from ovbench.models.sam.promptable import EncodedImage, MaskPrediction

LOW_RES = 4
"""SAM's masks have this many cells per cell of its features, along both axes."""


@dataclass(frozen=True)
class PerSAMSettings:
    """Settings of :class:`PerSAM`."""

    sam: str = setting(
        "sam_vit_h", "released code, persam.py", "which SAM, of the catalogue", picks="sam/{sam}"
    )
    filled: float = setting(
        0.966,
        "released code: above a brightness of 123.675, of the 128 that objects have in PerSeg's "
        "masks",
        "share of a feature's cell that the object must fill more of",
    )
    attention: Literal["sigmoid", "softmax", "none"] = setting(
        "sigmoid",
        "released code, persam.py, which squeezes the picture's map onto the whole grid, padding "
        "included; softmax: over the grid, as the paper's equation is understood",
        "what of the similarity map is added to the decoder's attention",
    )
    attention_weight: float = setting(
        1.0, "released code, transformer.py: a plain sum", "factor on what is added"
    )
    semantic_prompt: bool = setting(
        True, "released code, transformer.py", "add the target's feature to the decoder's tokens"
    )
    refinements: int = setting(
        2,
        "released code, persam.py",
        "further predictions: 1 with the mask as a prompt, 2 also with its box",
    )

    def __post_init__(self) -> None:
        if not 0 <= self.filled < 1:
            raise ValueError("filled is a share below 1")
        if self.refinements not in (0, 1, 2):
            raise ValueError("refinements must be 0, 1 or 2")


class PerSAM:
    """The most and the least similar place prompt SAM, whose decoder is told the target."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="PerSAM: one picture tells SAM what to look for",
        kind="image-prompted",
        paper="Zhang et al., ICLR",
        year=2024,
        backbones=("SAM",),
        weights=("sam/sam_vit_h",),
        code_licence="mit",
    )
    Settings = PerSAMSettings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"released_code": {}}
    needs_exemplars = True

    def __init__(self, settings: PerSAMSettings, runtime: Runtime, sam: Sam | None = None) -> None:
        """Load the weights, or take a SAM that is loaded already."""
        self.settings = settings
        self._sam = sam or load_sam(settings.sam, runtime)
        self.checkpoints = self._sam.checkpoints

    def prepare(self, vocabulary: Vocabulary) -> None:
        """Find every class's feature in its pictures.

        Raises:
            UsageError: a class has no picture, or a picture no mask.
        """
        require_masks(vocabulary, "persam")
        self._vocabulary = vocabulary
        self._targets = [self._target(query) for query in vocabulary.classes]

    @torch.inference_mode()
    def segment(
        self, images: Sequence[Image], candidates: Sequence[Collection[int]] | None = None
    ) -> list[LabelMap]:
        """See :class:`~ovbench.Segmenter`; images are computed one by one."""
        return [self._answer(image, chosen) for image, chosen in pairs(images, candidates)]

    def _target(self, query: ClassQuery) -> Tensor:
        """``(C,)``; of several pictures, which the paper does not have, the mean."""
        return torch.stack([self._shown(exemplar) for exemplar in query.exemplars]).mean(dim=0)

    def _shown(self, exemplar: Exemplar) -> Tensor:
        assert exemplar.mask is not None  # as require_masks made sure
        encoded = self._sam.encode(exemplar.image)
        chosen = self._sam.to_features(exemplar.mask, encoded) > self.settings.filled
        if not chosen.any():
            chosen[self._cell_of_some_pixel(exemplar.mask, encoded)] = True
        return encoded.features[0][:, chosen].mean(dim=1)

    def _cell_of_some_pixel(
        self, mask: npt.NDArray[np.bool_], encoded: EncodedImage
    ) -> tuple[int, int]:
        """Row and column in the features of an object too small to fill a cell."""
        rows, columns = mask.nonzero()
        middle = len(rows) // 2
        place = self._sam.to_input((columns[middle], rows[middle]), encoded)[0]
        column, row = (place * encoded.features.shape[-1] / self._sam.image_size).long().tolist()
        return row, column

    def _answer(self, image: Image, candidates: Collection[int] | None) -> LabelMap:
        with stage("encode"):
            encoded = self._sam.encode(image)
        ask = partial(self._look_for, encoded)
        return ask_each(ask, self._vocabulary, candidates, encoded.size)

    def _look_for(self, encoded: EncodedImage, index: int) -> ClassMask:
        target = self._targets[index]
        with stage("match"):
            cosines = cosine_map(encoded.features[0], target)
            similarity = self._at_full_size(cosines, encoded)
            points = np.array([extreme(similarity), extreme(-similarity)])
            guidance = Guidance(
                self._favour(cosines, similarity),
                target if self.settings.semantic_prompt else None,
            )
        with stage("decode"):
            mask = self._decode(encoded, points, guidance)
        # SAM's own estimate of a mask says nothing of what it shows.
        score = float(similarity[torch.as_tensor(mask)].mean()) if mask.any() else -1.0
        return ClassMask(mask, score)

    def _at_full_size(self, cosines: Tensor, encoded: EncodedImage) -> Tensor:
        """``(h, w)`` to ``(H, W)`` on the CPU, by the way of SAM's masks."""
        low_res = functional.interpolate(
            cosines[None, None], scale_factor=LOW_RES, mode="bilinear", align_corners=False
        )
        return self._sam.upscale(low_res, encoded)[0, 0].cpu()

    def _favour(self, cosines: Tensor, similarity: Tensor) -> Tensor | None:
        """What is added to the attention over the image's features."""
        kind, weight = self.settings.attention, self.settings.attention_weight
        if kind == "none":
            return None
        if kind == "softmax":
            return weight * cosines.flatten().softmax(dim=0)
        squeezed = standardised_on_grid(similarity, (cosines.shape[0], cosines.shape[1]))
        return weight * squeezed.sigmoid().flatten().to(cosines.device)

    def _decode(
        self, encoded: EncodedImage, points: npt.NDArray[np.intp], guidance: Guidance
    ) -> npt.NDArray[np.bool_]:
        predict = partial(self._sam.predict, encoded, points=points, labels=(1, 0))
        answer, best = predict(multimask=False, guidance=guidance), 0
        for refinement in range(self.settings.refinements):
            box = box_of(answer.masks[best]) if refinement else None
            answer = predict(mask_input=answer.low_res[best], box=box)
            best = most_confident(answer)
        mask: npt.NDArray[np.bool_] = answer.masks[best]
        return mask


def cosine_map(features: Tensor, target: Tensor) -> Tensor:
    """The cosine of ``(C, h, w)`` features with a target ``(C,)``; ``(h, w)``."""
    cosines: Tensor = torch.einsum(
        "chw,c->hw", functional.normalize(features, dim=0), functional.normalize(target, dim=0)
    )
    return cosines


def extreme(similarity: Tensor) -> tuple[int, int]:
    """X and y of the largest value of ``(H, W)``; the first one of equals, row by row."""
    y, x = divmod(int(similarity.flatten().argmax()), similarity.shape[1])
    return x, y


def standardised_on_grid(similarity: Tensor, grid: tuple[int, int]) -> Tensor:
    """A map ``(H, W)`` with mean 0 and deviation 1, squeezed bilinearly onto a grid."""
    # A picture of one pixel has no deviation.
    deviation = similarity.std() if similarity.numel() > 1 else torch.tensor(0.0)
    standard = (similarity - similarity.mean()) / deviation.clamp(min=1e-6)
    squeezed: Tensor = functional.interpolate(
        standard[None, None], grid, mode="bilinear", align_corners=False
    )
    return squeezed[0, 0]


def box_of(mask: npt.NDArray[np.bool_]) -> tuple[int, int, int, int] | None:
    """Left, top, right and bottom of a mask, all of them in it; an empty one has none."""
    if not mask.any():
        return None
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])


def most_confident(answer: MaskPrediction) -> int:
    """The index of the mask that SAM believes to be the best."""
    return int(answer.iou.argmax())
