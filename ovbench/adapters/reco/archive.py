"""Pictures of nobody knows what, in which CLIP looks for a class."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ovbench.harness.contract.progress import progress
from ovbench.harness.contract.runtime import Precision
from ovbench.harness.files.cache import remembered
from ovbench.models.clip.model import CLIP
from ovbench.models.pictures import Archive

TOGETHER = 64
"""Pictures that go through a network at a time: 64 of ViT-L/14@336 take about 3 GB."""


class Retrieval:
    """Finds the pictures that are most like a text."""

    def __init__(self, archive: Archive, clip: CLIP, precision: Precision) -> None:
        """Embed every picture, or recall what was embedded before."""
        self._clip = clip
        key = {
            "archive": [asdict(record) for record in archive.records],
            "clip": asdict(clip.checkpoint),
            "precision": precision,
        }

        def build() -> dict[str, npt.NDArray[np.float32]]:
            return {"embeddings": self._embedded(archive)}

        # Random weights have no name to keep anything under.
        kept = clip.checkpoint.sha256 is not None
        found = remembered("reco-archive", key, build) if kept else build()
        self._pictures = torch.from_numpy(found["embeddings"]).to(clip.device)

    def nearest(self, text: Tensor, count: int) -> list[list[int]]:
        """The numbers of the pictures most like each of ``(Q, d)`` texts, the nearest first."""
        order = torch.argsort(text @ self._pictures.mT, dim=1, descending=True, stable=True)
        nearest: list[list[int]] = order[:, :count].tolist()
        return nearest

    def _embedded(self, archive: Archive) -> npt.NDArray[np.float32]:
        """As CLIP's own processor prepares them; ``(n, d)``."""
        clip, parts = self._clip, []
        with progress("pictures of the archive", archive.count) as advance:
            for start in range(0, archive.count, TOGETHER):
                numbers = range(start, min(start + TOGETHER, archive.count))
                squares = archive.squares(
                    numbers,
                    clip.image_size,
                    mean=clip.mean,
                    std=clip.std,
                    mode="bicubic",
                    device=clip.device,
                )
                parts.append(clip.encode_image(squares).cpu().numpy())
                advance(len(numbers))
        return np.concatenate(parts)
