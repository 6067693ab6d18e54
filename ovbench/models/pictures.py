"""Pictures of nobody knows what: of a folder or of one file, by number."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from ovbench.errors import UsageError
from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.runtime import CheckpointRecord
from ovbench.harness.files.digests import digest_of_digests, digests_of_files
from ovbench.harness.files.images import read_image
from ovbench.harness.files.regular import regular
from ovbench.models.pixels.inputs import pillow_tensor

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
_KEY = "pictures"


@dataclass(frozen=True, slots=True, eq=False)
class Archive:
    """Pictures by number, read when they are asked for: there may be a million.

    Attributes:
        count: how many.
        records: what a result says of them; their digests are of what they hold.
        digests: of each of them, by what it holds.
        read: one of them.
    """

    count: int
    records: tuple[CheckpointRecord, ...]
    digests: Sequence[str]
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


def archive_in(folder: Path, *, upright: bool = False) -> Archive:
    """The pictures in a folder and below it, in the order of their names.

    Args:
        upright: they are turned as their EXIF orientation says.

    Raises:
        UsageError: no folder, or none in it.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; its pictures are looked at")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)
    if not files:
        raise UsageError(f"{folder}: holds no pictures ({', '.join(sorted(_SUFFIXES))})")
    digests = digests_of_files(files, "pictures of the archive")
    names = [path.relative_to(folder).as_posix() for path in files]
    digest = digest_of_digests(zip(names, digests, strict=True))
    record = CheckpointRecord("archive", f"{len(files)} pictures", None, digest)
    return Archive(
        len(files),
        (record,),
        digests,
        lambda number: read_image(files[number], upright=upright),
    )


def packed_archive(file: Path, records: tuple[CheckpointRecord, ...]) -> Archive:
    """The pictures of one file of safetensors, ``(n, H, W, 3)`` uint8 under ``pictures``."""
    from safetensors.numpy import load_file

    pictures = load_file(regular(file))[_KEY]
    digests = [hashlib.sha256(picture.tobytes()).hexdigest() for picture in pictures]
    return Archive(len(pictures), records, digests, lambda number: pictures[number])
