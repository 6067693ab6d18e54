"""CLIP's view of a region's crop: the paper's baseline, table 2, row 1."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from ovbench.adapters.parts.templates import templates
from ovbench.adapters.rim.settled import Settled
from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.stages import stage
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.models.clip.model import CLIP
from ovbench.models.pixels.inputs import squashed

BATCH = 64
"""Crops encoded together."""


class CropRecogniser:
    """Compares crops with names."""

    notes: tuple[str, ...] = ()

    def __init__(self, clip: CLIP, settings: Settled) -> None:
        """Take a CLIP that is loaded."""
        self._clip, self._settings = clip, settings

    def prepare(self, vocabulary: Vocabulary) -> None:
        """Embed every query, the background's too (our choice; the paper is silent)."""
        texts = vocabulary.query_texts
        self._labels = vocabulary.query_labels
        self._text = self._clip.embed_queries(texts, templates(self._settings.prompts))

    @torch.inference_mode()
    def recognise(
        self, image: Image, masks: npt.NDArray[np.bool_], allowed: npt.NDArray[np.intp]
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
        """The label of each region, ``(P,)``, and its cosine.

        Args:
            masks: ``(P, H, W)``, none of them empty.
            allowed: labels to answer with; at least one.
        """
        with stage("features"):
            crops = [crop(image, mask) for mask in masks]
            batches = [crops[start : start + BATCH] for start in range(0, len(crops), BATCH)]
            side, width = self._clip.image_size, self._text.shape[1]
            embedded = torch.cat(
                [self._text.new_empty(0, width)]
                + [self._clip.encode_image(squashed(self._clip, batch, side)) for batch in batches]
            )
        with stage("matching"):
            kept = np.flatnonzero(np.isin(self._labels, allowed))
            scores, best = (embedded @ self._text[kept].mT).max(dim=1)
            return self._labels[kept[best.cpu().numpy()]], scores.cpu().numpy()


def crop(image: Image, mask: npt.NDArray[np.bool_]) -> Image:
    """The box around a mask, black outside of the mask."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    return image[box] * mask[box][..., None]
