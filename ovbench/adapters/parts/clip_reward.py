"""The reward by which PnP-OVSS is tuned: does a masked image look like its class to CLIP?

Luo et al., "Emergent Open-Vocabulary Semantic Segmentation from Off-the-shelf
Vision-Language Models", CVPR 2024, section 3.4. It needs images and the names of the classes
in them, never a pixel's label.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.models.clip.model import CLIP
from ovbench.models.pixels.inputs import squashed

Contrast: TypeAlias = Literal["present", "vocabulary"]

TEMPLATE = "a photo of a {}."  # our choice: CLIP's own default; the paper names no prompt
LOGIT_SCALE = 100.0  # released code: softmax temperature 0.01
IMAGES_PER_PASS = 32  # a few GiB of activations in ViT-L/14 at 336 pixels


class ClipReward:
    """Rewards masks that show CLIP more of their class than a black image does.

    The reward of class k's mask M in an image I is 1 if Pr(M * I, k) > Pr(0, k), else 0
    (equation 4), where 0 is a black image and Pr is a softmax over CLIP's similarities
    (equation 5).
    """

    def __init__(self, clip: CLIP, contrast: Contrast = "present") -> None:
        """Wrap a CLIP; the paper takes ViT-L/14 at 336 pixels.

        Args:
            clip: embeds images and names.
            contrast: the classes the softmax runs over: "present", those in the image, is the
                paper. An image of one class then rewards nothing, as its probability is 1
                whatever the mask. "vocabulary", all classes, rewards there too.
        """
        self._clip = clip
        self._contrast = contrast

    def prepare(self, vocabulary: Vocabulary) -> None:
        """Embed the names of the classes and the black image."""
        self._offset = vocabulary.offset
        names = [query.name for query in vocabulary.classes]
        self._text = self._clip.embed_queries(names, [TEMPLATE])
        size = self._clip.image_size
        black = torch.zeros(size, size, 3, dtype=torch.uint8)
        self._black = self._embed([black.numpy()])

    @torch.inference_mode()
    def rewards(self, image: Image, masks: Tensor, present: Sequence[int]) -> Tensor:
        """The reward of every mask.

        Args:
            image: RGB, ``(H, W, 3)`` uint8.
            masks: ``(K, H, W)``, bool or float in 0..1, one per class.
            present: the classes' labels in the vocabulary, in the masks' order.

        Returns:
            ``(K,)`` float32, each 0 or 1.
        """
        if masks.shape != (len(present), *image.shape[:2]):
            raise ValueError(f"{tuple(masks.shape)} masks of {len(present)} classes")
        classes = torch.tensor([label - self._offset for label in present])
        shown = masked_images(image, masks)
        probability = self._log_probability(self._embed(shown), classes)
        prior = self._log_probability(self._black.expand(len(shown), -1), classes)
        # What is black anyway earns nothing; rounding in another batch must not decide.
        visible = torch.tensor([bool(picture.any()) for picture in shown])
        return ((probability > prior).cpu() & visible).float()

    def _embed(self, images: Sequence[Image]) -> Tensor:
        """``(n, d)``, in passes that fit into memory."""
        embedded = []
        for start in range(0, len(images), IMAGES_PER_PASS):
            batch = images[start : start + IMAGES_PER_PASS]
            pixels = squashed(self._clip, batch, self._clip.image_size)
            embedded.append(self._clip.encode_image(pixels))
        return torch.cat(embedded)

    def _log_probability(self, embedded: Tensor, classes: Tensor) -> Tensor:
        """``(K,)``: of class i for embedding i; logarithms tell probabilities near 1 apart."""
        logits = LOGIT_SCALE * embedded @ self._text.T
        own = torch.arange(len(classes))
        if self._contrast == "vocabulary":
            return logits.log_softmax(dim=-1)[own, classes]
        return logits[:, classes].log_softmax(dim=-1)[own, own]


def masked_images(image: Image, masks: Tensor) -> list[Image]:
    """The image through every mask ``(K, H, W)``; black where a mask is 0."""
    pixels = torch.tensor(image, device=masks.device)
    return [(pixels * mask[..., None]).float().round().byte().cpu().numpy() for mask in masks]
