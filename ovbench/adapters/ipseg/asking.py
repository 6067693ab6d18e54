"""SAM is asked for the object at some points, once or three times."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from ovbench.adapters.ipseg.nearest import Mask, nearest
from ovbench.adapters.ipseg.points import PointPrompt
from ovbench.adapters.ipseg.settings import Settled
from ovbench.harness.contract.arrays import Image
from ovbench.models.sam.promptable import EncodedImage, MaskPrediction, PromptableSegmenter


class Answer(NamedTuple):
    """SAM's mask.

    Attributes:
        mask: at the picture's size.
        iou: SAM's own estimate of its quality.
    """

    mask: Mask
    iou: float


def squashed_by_opencv(image: Image, side: int) -> Image:
    """A picture as a square, as ``cv2.resize`` makes it: bilinear, without antialiasing.

    Equal but for single levels where OpenCV's fixed point rounds the other way.
    """
    levels = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None]
    square = functional.interpolate(levels, (side, side), mode="bilinear", align_corners=False)
    return square[0].permute(1, 2, 0).round().byte().numpy()


class Asker:
    """Asks SAM about one picture.

    Attributes:
        frame: height and width of the picture in whose pixels points are given.
    """

    def __init__(self, sam: PromptableSegmenter, image: Image, settings: Settled) -> None:
        """Encode the picture."""
        self._sam, self._size, self._passes = sam, image.shape[:2], settings.sam_passes
        if settings.sam_input == "square":
            image = squashed_by_opencv(image, sam.image_size)
        self.frame: tuple[int, int] = image.shape[:2]
        self._encoded = sam.encode(image)

    def ask(self, prompt: PointPrompt) -> Answer:
        """The object at some points."""
        if self._passes == "once":
            mask, iou, _ = _best(_predict(self._sam, self._encoded, prompt, multimask=False))
        else:
            mask, iou, _ = cascade(self._sam, self._encoded, prompt)
        return Answer(nearest(mask, self._size), iou)


class _Best(NamedTuple):
    mask: Mask
    iou: float
    low_res: npt.NDArray[np.float32]


def cascade(sam: PromptableSegmenter, encoded: EncodedImage, prompt: PointPrompt) -> _Best:
    """Points; points and the mask; points, the mask and its box: the best mask of each."""
    found = _best(_predict(sam, encoded, prompt, multimask=False))
    found = _best(_predict(sam, encoded, prompt, mask_input=found.low_res))
    box = box_of(found.mask)
    return _best(_predict(sam, encoded, prompt, mask_input=found.low_res, box=box))


def box_of(mask: Mask) -> tuple[int, int, int, int]:
    """Left, top, right and bottom pixel of a mask; of the whole picture where it is empty.

    The released code means the same, but writes left, left, right, right.
    """
    if not mask.any():
        mask = np.ones_like(mask)
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])


def _predict(
    sam: PromptableSegmenter,
    encoded: EncodedImage,
    prompt: PointPrompt,
    *,
    mask_input: npt.NDArray[np.float32] | None = None,
    box: tuple[int, int, int, int] | None = None,
    multimask: bool = True,
) -> MaskPrediction:
    return sam.predict(
        encoded, points=prompt.points, labels=prompt.labels, mask_input=mask_input, box=box,
        multimask=multimask,
    )  # fmt: skip


def _best(found: MaskPrediction) -> _Best:
    at = int(found.iou.argmax())
    return _Best(found.masks[at], float(found.iou[at]), found.low_res[at])
