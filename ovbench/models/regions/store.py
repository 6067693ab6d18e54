"""Masks of images, made once for all methods, runs and processes, and the maps made of them.

Masks are kept before fusing and painting, which take no time beside them: methods that differ in
these alone share them.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.harness.contract.stages import stage
from ovbench.harness.files.cache import remembered_in_turn
from ovbench.harness.files.features import MAKE, REGIONS, regions_are_kept
from ovbench.models.regions.generator import Generator, ReadyGenerator
from ovbench.models.regions.generators import settings_of
from ovbench.models.regions.maps import MaskArray, Painting, RegionMap, ScoreArray, fuse, paint
from ovbench.models.weights.content import surroundings

KIND = "regions"
"""Their folder in the cache."""


@dataclass(frozen=True, slots=True, eq=False)
class Masks:
    """The class-agnostic masks of one image.

    Attributes:
        masks: ``(n, H, W)`` bool; they may overlap and leave pixels free.
        scores: ``(n,)`` float32, the generator's own, of its own scale.
    """

    masks: MaskArray
    scores: ScoreArray

    def fused(self, box_iou: float = 0.2, containment: float = 0.8) -> Masks:
        """See :func:`~ovbench.models.regions.maps.fuse`."""
        return Masks(*fuse(self.masks, self.scores, box_iou=box_iou, containment=containment))

    def painted(self, on_top: Painting = "larger") -> RegionMap:
        """See :func:`~ovbench.models.regions.maps.paint`."""
        return paint(self.masks, self.scores, on_top)


class Regions:
    """Masks by one generator, from the cache where they are there."""

    def __init__(
        self, generator: Generator, runtime: Runtime, ready: ReadyGenerator | None = None
    ) -> None:
        """Load the generator.

        Args:
            ready: the same generator on weights that are loaded already.

        Raises:
            UsageError: weights or a library that cannot be had.
        """
        self._generator, self._runtime = generator, runtime
        self._ready = ready or generator.load(runtime)

    @property
    def checkpoints(self) -> tuple[CheckpointRecord, ...]:
        """Which weights make the masks."""
        return self._ready.checkpoints

    def masks(self, images: Sequence[Image], *, watched: bool = False) -> list[Masks]:
        """Of every image, one after the other; what is made is kept at once.

        Kept are a bit per pixel and mask, compressed: 41 of 500x375 pixels took 21 kB. They go by
        generator, settings, weights and the image's pixels, so that they serve every method, run
        and process, and whoever is killed goes on where it stopped. A stage says whether they were
        made, for whoever takes times.

        Args:
            images: ``(H, W, 3)`` uint8.
            watched: whether progress is shown: a run, whose batches these are, shows its own.
        """
        with stage(REGIONS):
            if not regions_are_kept():
                return [Masks(*self._made(image)) for image in images]
            return self._kept(images, "regions" if watched else None)

    def _made(self, image: Image) -> tuple[MaskArray, ScoreArray]:
        with stage(MAKE):
            return self._ready.masks(image)

    def _kept(self, images: Sequence[Image], title: str | None) -> list[Masks]:
        keys = [{**self.key, "image": _digest(image)} for image in images]

        def build(i: int) -> dict[str, npt.NDArray[Any]]:
            masks, scores = self._made(images[i])
            bits = np.packbits(masks.reshape(len(masks), images[i][..., 0].size), axis=1)
            return {"bits": _compressed(bits), "scores": scores}

        found = remembered_in_turn(KIND, keys, build, title=title, sizes=[1] * len(images))
        return [
            Masks(_unpacked(one["bits"], len(one["scores"]), image), one["scores"])
            for one, image in zip(found, images, strict=True)
        ]

    @cached_property
    def key(self) -> dict[str, object]:
        """What decides the masks of an image, JSON-ready."""
        runtime, ready = self._runtime, self._ready
        return {
            "generator": settings_of(self._generator),
            "weights": [asdict(record) for record in ready.checkpoints],
            "made_by": ready.code,
            "precision": runtime.precision,
            "seed": runtime.seed if any(r.sha256 is None for r in ready.checkpoints) else None,
            **surroundings(torch.device(runtime.device)),
        }


def _digest(image: Image) -> str:
    return hashlib.sha256(f"{image.shape}".encode() + np.ascontiguousarray(image).data).hexdigest()


def _compressed(bits: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Masks are long runs: at the fastest level they shrink to a few hundredths."""
    return np.frombuffer(zlib.compress(bits.tobytes(), 1), np.uint8)


def _unpacked(packed: npt.NDArray[np.uint8], count: int, image: Image) -> MaskArray:
    height, width = image.shape[:2]
    bits = np.frombuffer(zlib.decompress(packed.tobytes()), np.uint8)
    bits = bits.reshape(count, -(-height * width // 8))
    return np.unpackbits(bits, axis=1, count=height * width).view(bool).reshape(-1, height, width)
