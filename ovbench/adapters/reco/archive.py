"""Pictures of nobody knows what, in which CLIP looks for a class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ovbench.errors import UsageError
from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.progress import progress
from ovbench.harness.contract.runtime import CheckpointRecord, Precision
from ovbench.harness.files.cache import remembered
from ovbench.harness.files.digests import digest_of_files
from ovbench.harness.files.images import read_image
from ovbench.harness.files.regular import regular
from ovbench.models.clip.model import CLIP
from ovbench.models.pixels.inputs import pillow_tensor

TOGETHER = 64
"""Pictures that go through a network at a time: 64 of ViT-L/14@336 take about 3 GB."""

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
_KEY = "pictures"


@dataclass(frozen=True, slots=True, eq=False)
class Archive:
    """Pictures by number, read when they are asked for: there may be a million.

    Attributes:
        count: how many.
        records: what a result says of them; their digests are of what they hold.
        read: one of them.
    """

    count: int
    records: tuple[CheckpointRecord, ...]
    read: Callable[[int], Image]

    def squares(
        self,
        numbers: Sequence[int],
        side: int,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        mode: Literal["bilinear", "bicubic"],
        device: torch.device,
    ) -> Tensor:
        """The middle of some pictures, normalised, ``(n, 3, side, side)``; resized by Pillow."""
        found = []
        for number in numbers:
            image = self.read(number)
            height, width, _ = image.shape
            short = min(height, width)
            size = (side * height // short, side * width // short)
            whole = pillow_tensor(image, size, mean=mean, std=std, mode=mode, device=device)
            top, left = (round((length - side) / 2) for length in size)
            found.append(whole[:, top : top + side, left : left + side])
        return torch.stack(found)


def archive_in(folder: Path) -> Archive:
    """The pictures in a folder and below it, in the order of their names.

    Raises:
        UsageError: no folder, or none in it.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; ReCo looks for classes in its pictures")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)
    if not files:
        raise UsageError(f"{folder}: holds no pictures ({', '.join(sorted(_SUFFIXES))})")
    named = [(path.relative_to(folder).as_posix(), path) for path in files]
    digest = digest_of_files(named, "pictures of the archive")
    record = CheckpointRecord("archive", f"{len(files)} pictures", None, digest)
    return Archive(len(files), (record,), lambda number: read_image(files[number]))


def packed_archive(file: Path, records: tuple[CheckpointRecord, ...]) -> Archive:
    """The pictures of one file of safetensors, ``(n, H, W, 3)`` uint8 under ``pictures``."""
    from safetensors.numpy import load_file

    pictures = load_file(regular(file))[_KEY]
    return Archive(len(pictures), records, lambda number: pictures[number])


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
