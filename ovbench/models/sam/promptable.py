"""What a promptable segmenter answers, whichever SAM it is: masks from points, boxes and masks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.runtime import CheckpointRecord
from ovbench.models.sam.decoding import Answers


@dataclass(frozen=True, slots=True, eq=False)
class EncodedImage:
    """An image's embedding, from which any number of prompts are answered.

    Attributes:
        features: ``(1, C, h, w)`` float32.
        size: height and width of the image.
        input_size: height and width it was resized to; the rest of the model's square input
            is padding.
        finer: of SAM 2, what its decoder adds to the features as it enlarges them:
            ``(1, C / 8, 4h, 4w)`` and ``(1, C / 4, 2h, 2w)`` float32.
    """

    features: Tensor
    size: tuple[int, int]
    input_size: tuple[int, int]
    finer: tuple[Tensor, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class MaskPrediction:
    """The masks that answer one prompt.

    Attributes:
        masks: ``(n, H, W)`` bool, at the image's size; three of a multimask call, else one.
        iou: ``(n,)`` float32, the model's own estimate of each mask's quality.
        low_res: ``(n, h, w)`` float32, the logits; one of them, as ``(h, w)``, can be the
            mask prompt of the next call.
    """

    masks: npt.NDArray[np.bool_]
    iou: npt.NDArray[np.float32]
    low_res: npt.NDArray[np.float32]


class PromptableSegmenter(ABC):
    """A frozen SAM or SAM 2.

    Attributes:
        checkpoints: which weights these are.
        image_size: side of the model's square input.
        mask_threshold: logits above it are a mask's.
    """

    checkpoints: tuple[CheckpointRecord, ...]
    device: torch.device
    image_size: int
    mask_threshold: float

    @abstractmethod
    def encode(self, image: Image) -> EncodedImage:
        """Embed an RGB image ``(H, W, 3)`` uint8."""

    @abstractmethod
    def to_input(self, places: npt.ArrayLike, encoded: EncodedImage) -> Tensor:
        """From pixels of the image to the frame of the model's input.

        Args:
            places: x and y in turn along the last axis.

        Returns:
            ``(k, 2)`` float64, on the device.
        """

    @abstractmethod
    def decode(
        self,
        encoded: EncodedImage,
        *,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
        multimask: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """Answer ``b`` prompts on one image; places in the frame of the model's input.

        Args:
            points: ``(b, k, 2)``.
            labels: ``(b, k)`` int.
            boxes: ``(b, 4)``.
            masks: ``(b, 1, h, w)`` logits.
            multimask: three masks a prompt, else one.

        Returns:
            Logits ``(b, n, h, w)`` at low resolution and predicted IoU ``(b, n)``.
        """

    @abstractmethod
    def decode_many(
        self,
        encoded: EncodedImage,
        *,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        mask: Tensor | None = None,
        multimask: bool = True,
        above: float = 0.0,
    ) -> Answers:
        """As :meth:`decode`, up to rounding, for many prompts; see :mod:`.decoding`.

        Args:
            mask: ``(h, w)`` logits, the same for all prompts.
            above: predicted IoU of the masks that are made; 0 makes all.
        """

    @abstractmethod
    def upscale(self, low_res: Tensor, encoded: EncodedImage) -> Tensor:
        """Logits at the image's size: ``(b, n, h, w)`` to ``(b, n, H, W)``."""

    def predict(
        self,
        encoded: EncodedImage,
        *,
        points: npt.ArrayLike | None = None,
        labels: npt.ArrayLike | None = None,
        box: npt.ArrayLike | None = None,
        mask_input: npt.ArrayLike | None = None,
        multimask: bool = True,
    ) -> MaskPrediction:
        """Answer one prompt; any combination of points, box and mask.

        Args:
            points: ``(k, 2)``, x and y in pixels of the image.
            labels: ``(k,)``, 1 inside the object and 0 outside.
            box: ``(4,)``, left, top, right, bottom in pixels of the image.
            mask_input: ``(h, w)`` logits of an earlier prediction.
            multimask: three masks for an ambiguous prompt instead of one.

        Raises:
            ValueError: points without labels, or labels without points.
        """
        if (points is None) != (labels is None):
            raise ValueError("points and labels go together")
        low_res, iou = self.decode(
            encoded,
            points=None if points is None else self.to_input(points, encoded).float()[None],
            labels=None if labels is None else self._tensor(labels).int()[None],
            boxes=None if box is None else self.to_input(box, encoded).float().reshape(1, 4),
            masks=None if mask_input is None else self._tensor(mask_input).float()[None, None],
            multimask=multimask,
        )
        masks = self.upscale(low_res, encoded) > self.mask_threshold
        return MaskPrediction(*(part[0].cpu().numpy() for part in (masks, iou, low_res)))

    def _tensor(self, values: npt.ArrayLike) -> Tensor:
        return torch.as_tensor(np.asarray(values), device=self.device)
