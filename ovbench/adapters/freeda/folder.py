"""A collection of a user's own pictures, generated or not: a folder for every word."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ovbench.adapters.freeda.collection import Squares, averaged, shown
from ovbench.adapters.freeda.settings import FreeDASettings
from ovbench.errors import UsageError
from ovbench.harness.contract.progress import progress
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.harness.files.cache import remembered
from ovbench.harness.files.digests import digest_of_files
from ovbench.harness.files.images import read_image
from ovbench.harness.files.regular import regular
from ovbench.models.patches.encoder import PatchEncoder

VERSION = 1
"""Raised when the same pictures and settings give other prototypes."""

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}


class PictureFolder:
    """``FOLDER/word/picture.png``, and beside it ``picture.npy`` where its word acts, if known.

    An entry is a picture, and its key the word: its patches' mean, or that of those where the word
    acts, cut as those of support sets are.
    """

    def __init__(
        self,
        folder: Path,
        settings: FreeDASettings,
        encoder: PatchEncoder,
        squares: Squares,
        embed: Callable[[Sequence[str]], Tensor],
        runtime: Runtime,
    ) -> None:
        """Find the pictures; they are read when they are asked for.

        Raises:
            UsageError: no folder, or no pictures in folders below it.
        """
        if not folder.is_dir():
            raise UsageError(f"{folder}: no such folder; collection=folder finds pictures in it")
        found = sorted(p for p in folder.glob("*/*") if p.suffix.lower() in _SUFFIXES)
        if not found:
            raise UsageError(
                f"{folder}: holds no pictures ({', '.join(sorted(_SUFFIXES))}) in a folder for "
                "every word, such as cat/0.png"
            )
        self._files, self._settings, self._encoder = found, settings, encoder
        self._squares, self._embed, self._precision = squares, embed, runtime.precision
        self._words = [path.parent.name for path in found]
        named = [
            (one.relative_to(folder).as_posix(), one)
            for path in found
            for one in (path, path.with_suffix(".npy"))
        ]
        digest = digest_of_files(named, "pictures of the collection")
        record = CheckpointRecord("freeda", f"{len(found)} pictures", None, digest)
        self.checkpoints: tuple[CheckpointRecord, ...] = (record,)

    def prototypes(self, names: Sequence[str], text: Tensor) -> Tensor:
        """See :class:`~ovbench.adapters.freeda.collection.Collection`."""
        settings = self._settings
        key = {
            "version": VERSION,
            "pictures": [asdict(record) for record in self.checkpoints],
            "models": [asdict(record) for record in self._encoder.checkpoints],
            "precision": self._precision,
            "side": settings.side,
            "threshold": settings.attention_threshold,
        }
        # Random weights have no name to keep anything under.
        named = all(record.sha256 is not None for record in self._encoder.checkpoints)
        found = remembered("freeda-pictures", key, self._build) if named else self._build()
        entries = torch.from_numpy(found["prototypes"]).to(text.device)
        keys = self._embed(self._words)
        return averaged(text, keys, entries, settings.neighbours or settings.pictures)

    @torch.inference_mode()
    def _build(self) -> Mapping[str, npt.NDArray[np.float32]]:
        rows = []
        with progress("pictures of the collection", len(self._files)) as advance:
            for path in self._files:
                grid = self._squares(read_image(path)[None])
                acts = torch.from_numpy(_attribution(path.with_suffix(".npy")))
                threshold = self._settings.attention_threshold
                rows.append(shown(grid, acts[None].to(grid.device), threshold).cpu().numpy())
                advance(1)
        return {"prototypes": np.concatenate(rows)}


def _attribution(file: Path) -> npt.NDArray[np.float32]:
    """Where a picture's word acts, ``(h, w)``; everywhere alike where no file says so."""
    if not file.exists():
        return np.ones((1, 1), np.float32)
    try:
        found = np.load(regular(file), allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"{file}: cannot be read: {error}") from None
    if found.ndim != 2 or not found.size or not np.isfinite(found).all() or found.min() < 0:
        raise UsageError(f"{file}: should be one map of numbers from 0 on, (height, width)")
    acts: npt.NDArray[np.float32] = found.astype(np.float32)
    return acts
