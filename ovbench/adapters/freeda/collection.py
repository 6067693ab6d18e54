"""What classes look like: entries with a text as their key and a prototype as what they hold."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ovbench.adapters.freeda.settings import FreeDASettings
from ovbench.errors import UsageError
from ovbench.harness.contract.progress import progress
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.harness.files.cache import remembered
from ovbench.harness.files.regular import regular
from ovbench.models.diffusion.attention import DAAM
from ovbench.models.diffusion.sampling import Sampling
from ovbench.models.patches.encoder import PatchEncoder
from ovbench.models.weights.digests import noted_sha256
from ovbench.support import Recipe, SupportSet, SupportSets

VERSION = 1
"""Raised when the same pictures and settings give other prototypes."""

TOGETHER = 8
"""Pictures encoded together."""

AT_A_TIME = 65_536
"""Keys of an index that are compared together: 200 MB of ViT-L/14's."""

_PAGES = {
    "faiss_index": "https://drive.google.com/file/d/1FHjpM0aqPf9OjiuG_341EMlEuq6hsh6L/view",
    "prototype_embeddings": "https://drive.google.com/file/d/1U4d0exJuq29b0rLR6iOT20ErW3DAmgw0/view",
}
"""Of the authors' README: what is unpacked into each folder."""


Squares = Callable[[npt.NDArray[np.uint8]], Tensor]
"""From pictures ``(n, H, W, 3)`` to the encoder's patches, ``(n, D, h, w)``."""


class Collection(Protocol):
    """Knows what texts look like.

    Attributes:
        checkpoints: of what it was read or is made from.
    """

    checkpoints: tuple[CheckpointRecord, ...]

    def prototypes(self, names: Sequence[str], text: Tensor) -> Tensor:
        """One prototype per name, ``(Q, D)`` float32, of any length.

        Args:
            names: of classes.
            text: their embeddings, ``(Q, d)``, of unit length.
        """
        ...


class RandomVectors:
    """Prototypes of nothing, the same of the same seed."""

    def __init__(self, encoder: PatchEncoder, seed: int) -> None:
        self._width, self._device, self._seed = encoder.width, encoder.device, seed
        record = CheckpointRecord("freeda", "random prototypes", None, None)
        self.checkpoints: tuple[CheckpointRecord, ...] = (record,)

    def prototypes(self, names: Sequence[str], text: Tensor) -> Tensor:
        """See :class:`Collection`."""
        random = torch.Generator().manual_seed(self._seed)
        return torch.randn(len(names), self._width, generator=random).to(self._device)


class Supports:
    """Pictures that Stable Diffusion makes of the names, cut out where a name acts.

    An entry is a picture, and its key the text that it was made of.
    """

    def __init__(
        self, settings: FreeDASettings, encoder: PatchEncoder, squares: Squares, runtime: Runtime
    ) -> None:
        self._settings, self._encoder, self._squares = settings, encoder, squares
        self._precision = runtime.precision
        self._supports = SupportSets(recipe(settings, runtime.seed), runtime)
        self.checkpoints = self._supports.checkpoints

    def prototypes(self, names: Sequence[str], text: Tensor) -> Tensor:
        """See :class:`Collection`."""
        settings = self._settings
        sets = self._supports.make(names, settings.pictures)
        with progress("prototypes", len(sets)) as advance:
            found = []
            for one in sets:
                found.append(self._of(one))
                advance(1)
        entries = torch.from_numpy(np.concatenate(found)).to(text.device)
        keys = text.repeat_interleave(settings.pictures, dim=0)
        return averaged(text, keys, entries, settings.neighbours or settings.pictures)

    def _of(self, support: SupportSet) -> npt.NDArray[np.float32]:
        settings = self._settings
        key: dict[str, Any] = {
            "version": VERSION,
            "support": support.digest,
            "models": [asdict(record) for record in self._encoder.checkpoints],
            "precision": self._precision,
            "side": settings.side,
            "threshold": settings.attention_threshold,
        }
        # Random weights have no name to keep anything under.
        named = all(record.sha256 is not None for record in self._encoder.checkpoints)
        build = partial(self._build, support)
        found = remembered("freeda-prototypes", key, build) if named else build()
        return found["prototypes"]

    @torch.inference_mode()
    def _build(self, support: SupportSet) -> Mapping[str, npt.NDArray[np.float32]]:
        images, attribution = support.images, torch.from_numpy(support.attribution)
        parts = []
        for start in range(0, len(images), TOGETHER):
            batch = slice(start, start + TOGETHER)
            grid = self._squares(images[batch])
            parts.append(shown(grid, attribution[batch].to(grid.device), self._threshold))
        return {"prototypes": torch.cat(parts).cpu().numpy()}

    @property
    def _threshold(self) -> float:
        return self._settings.attention_threshold


def recipe(settings: FreeDASettings, seed: int) -> Recipe:
    """What decides the pictures."""
    return Recipe(
        settings.generator,
        settings.picture_prompt,
        settings.negative_prompt,
        Sampling(settings.solver, settings.steps, settings.guidance),
        DAAM,
        seed,
    )


def shown(grid: Tensor, attribution: Tensor, threshold: float) -> Tensor:
    """The mean of a picture's patches where its name acts.

    Args:
        grid: ``(n, D, h, w)``.
        attribution: ``(n, H, W)``, not negative.
        threshold: share of its peak from which on a place is taken; the peak always is.

    Returns:
        ``(n, D)``.
    """
    size = (grid.shape[2], grid.shape[3])
    acts = interpolate(attribution[:, None], size, mode="bilinear", align_corners=False)[:, 0]
    taken = (acts >= threshold * acts.amax(dim=(1, 2), keepdim=True)).to(grid.dtype)
    return torch.einsum("ndhw,nhw->nd", grid, taken) / taken.sum(dim=(1, 2))[:, None]


class PublishedIndex:
    """The collection that the authors made of COCO's captions.

    Its keys are read out of the approximate index and compared all, exactly.
    """

    def __init__(self, folder: Path, neighbours: int, encoder: PatchEncoder) -> None:
        """Read the index; prototypes are read when they are asked for.

        Raises:
            UsageError: files that are missing or do not go together, or no faiss.
        """
        file, self._folder = folder / "faiss_index" / "knn.index", folder / "prototype_embeddings"
        for path, there in ((file, file.is_file()), (self._folder, self._folder.is_dir())):
            if not there:
                page = _PAGES[path.relative_to(folder).parts[0]]
                raise UsageError(f"{path}: is not there; unpack it from {page}")
        self._index = _read_index(file)
        self._names = sorted(os.listdir(self._folder))
        if len(self._names) != self._index.ntotal:
            raise UsageError(
                f"{folder}: the index has {self._index.ntotal} entries and prototype_embeddings "
                f"{len(self._names)} files; unpack both anew, and nothing else into it"
            )
        self._neighbours, self._width, self._device = neighbours, encoder.width, encoder.device
        digest = noted_sha256(file)
        record = CheckpointRecord("freeda", "knn.index of COCO's nouns", None, digest)
        self.checkpoints: tuple[CheckpointRecord, ...] = (record,)

    def prototypes(self, names: Sequence[str], text: Tensor) -> Tensor:
        """See :class:`Collection`."""
        if self._index.d != text.shape[1]:
            raise UsageError(
                f"the index has keys of {self._index.d} numbers and this CLIP texts of "
                f"{text.shape[1]}; set architecture to the CLIP that it was made with"
            )
        near = nearest(text, self._keys(text.device), self._neighbours, self._squared)
        with progress("prototypes", len(near)) as advance:
            found = []
            for row in near:
                found.append(self._mean(row))
                advance(1)
        return torch.stack(found).to(self._device)

    @property
    def _squared(self) -> bool:
        import faiss

        return bool(self._index.metric_type == faiss.METRIC_L2)

    def _keys(self, device: torch.device) -> Iterator[Tensor]:
        total = self._index.ntotal
        for start in range(0, total, AT_A_TIME):
            count = min(AT_A_TIME, total - start)
            yield torch.from_numpy(self._index.reconstruct_n(start, count)).to(device)

    def _mean(self, numbers: Tensor) -> Tensor:
        """Released code, build_proto_embedding: what is not finite is left out."""
        kept = []
        for number in numbers.tolist():
            file = self._folder / self._names[number]
            try:
                one = np.load(regular(file), allow_pickle=False)
            except (OSError, ValueError) as error:
                raise UsageError(f"{file}: cannot be read: {error}") from None
            if one.shape != (self._width,):
                raise UsageError(
                    f"{file}: has the shape {one.shape} and should have ({self._width},); set "
                    "encoder to the one that the prototypes were made with"
                )
            if np.isfinite(one).all():
                kept.append(torch.from_numpy(one).float())
        if not kept:
            raise UsageError(f"{self._folder}: no prototype of a class's nearest is finite")
        return torch.stack(kept).mean(dim=0)


def _read_index(file: Path) -> Any:
    try:
        import faiss
    except ImportError:
        raise UsageError(
            "collection=index is read by faiss: pip install 'ovbench[faiss]'"
        ) from None
    try:
        return faiss.read_index(str(regular(file)))
    except RuntimeError as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise UsageError(f"{file}: is no index of faiss, or damaged: {reason}") from None


def averaged(text: Tensor, keys: Tensor, entries: Tensor, count: int) -> Tensor:
    """The mean of the entries whose keys are most like each text.

    Args:
        text: ``(Q, d)``.
        keys: ``(n, d)``.
        entries: ``(n, D)``.
        count: see :func:`nearest`.

    Returns:
        ``(Q, D)``.
    """
    near = nearest(text, iter([keys]), count)
    return torch.stack([entries[row].mean(dim=0) for row in near])


def nearest(text: Tensor, keys: Iterator[Tensor], count: int, squared: bool = False) -> Tensor:
    """The numbers of the keys most like each text, the nearest first; of equals, the earlier.

    Args:
        text: ``(Q, d)``.
        keys: one part ``(n, d)`` after the other.
        count: of keys; all where there are fewer.
        squared: by distance, not by product.

    Returns:
        ``(Q, min(count, n))`` int64.
    """
    best = text.new_full((len(text), 0), 0)
    numbers = torch.zeros(len(text), 0, dtype=torch.long, device=text.device)
    start = 0
    for part in keys:
        alike = text @ part.mT
        if squared:
            alike = 2 * alike - part.square().sum(dim=1)
        here = torch.arange(start, start + len(part), device=text.device).expand(len(text), -1)
        best, numbers = torch.cat([best, alike], dim=1), torch.cat([numbers, here], dim=1)
        best, order = torch.sort(best, dim=1, descending=True, stable=True)
        best, order = best[:, :count], order[:, :count]
        numbers = numbers.gather(1, order)
        start += len(part)
    return numbers
