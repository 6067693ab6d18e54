"""What the classes of a vocabulary look like: one vector each, published or made of pictures."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from ovbench.adapters.parts.templates import templates
from ovbench.adapters.reco.archive import TOGETHER, Retrieval
from ovbench.adapters.reco.cosegment import context_weights, cosegmented
from ovbench.adapters.reco.settings import ReCoSettings
from ovbench.errors import UsageError
from ovbench.harness.contract.progress import progress
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.harness.files.cache import remembered
from ovbench.harness.files.home import at_home
from ovbench.models.clip.model import CLIP, load_clip
from ovbench.models.patches.encoder import PatchEncoder
from ovbench.models.pictures import Archive, archive_in, packed_archive
from ovbench.models.weights.checkpoints import locate
from ovbench.models.weights.plain_pickle import tensors_in
from ovbench.models.weights.untrained import untrained

ROLE = "reco"
VERSION = 1
"""Raised when the same pictures and settings give other vectors."""

_LIKE = {"vegetation": "tree"}
"""Classes that take the vector of another one, as the released code lets them."""

_NAMED = 5


@dataclass(frozen=True, slots=True, eq=False)
class Eyes:
    """The two networks that look at places.

    Attributes:
        encoder: compares places with places.
        clip: compares places with texts.
        sharpness: see :class:`~ovbench.adapters.reco.settings.ReCoSettings`.
    """

    encoder: PatchEncoder
    clip: CLIP
    sharpness: float

    def places(self, images: Tensor) -> Tensor:
        """``(n, d, h, w)`` of ``(n, 3, H, W)``, of any length."""
        return self.encoder.features(images, norm=True)

    def words(self, images: Tensor) -> Tensor:
        """``(n, e, h, w)``, of unit length."""
        return functional.normalize(self.clip.dense_features(images, residual=False).values, dim=1)

    def told(self, words: Tensor, text: Tensor, size: tuple[int, int]) -> Tensor:
        """How well ``(Q, e)`` texts name places; ``(n, Q, *size)``, 0..1."""
        found = (torch.einsum("nehw,qe->nqhw", words, text) * self.sharpness).sigmoid()
        return functional.interpolate(found, size, mode="bilinear", align_corners=False)


class References(Protocol):
    """Knows what a class looks like.

    Attributes:
        checkpoints: of what it was read or made from.
    """

    checkpoints: tuple[CheckpointRecord, ...]

    def vectors(self, names: Sequence[str], embed: Callable[[Sequence[str]], Tensor]) -> Tensor:
        """One vector ``(d,)`` of unit length per name, together ``(Q, d)``.

        Args:
            embed: from texts to their embeddings by the dense CLIP.
        """
        ...


def load_references(settings: ReCoSettings, eyes: Eyes, runtime: Runtime) -> References:
    """Published vectors, random ones, or an archive in which classes are looked for.

    Raises:
        UsageError: a file or a folder that cannot be had, or not what it should be.
    """
    name = settings.references
    if "/" in name or os.sep in name:
        return Retrieved(archive_in(at_home(name)), settings, eyes, runtime)
    if untrained(name, runtime):
        return RandomVectors(eyes.encoder, runtime.seed)
    located = locate(ROLE, name, runtime)
    if located.path.is_dir():
        archive = packed_archive(located.path / "pictures.safetensors", located.records)
        return Retrieved(archive, settings, eyes, runtime)
    return PublishedVectors(located.path, located.records, eyes.encoder)


class PublishedVectors:
    """What the authors made of ImageNet's pictures, by the names of their benchmarks."""

    def __init__(
        self, file: Path, checkpoints: tuple[CheckpointRecord, ...], encoder: PatchEncoder
    ) -> None:
        self._file, self.checkpoints = file, checkpoints
        self._known = {
            name: vector.float().flatten().to(encoder.device)
            for name, vector in tensors_in(file).items()
        }
        for name, vector in self._known.items():
            if len(vector) != encoder.width:
                raise UsageError(
                    f"{file}: {name} has {len(vector)} numbers, and {encoder.checkpoints[0].name} "
                    f"tells places by {encoder.width}"
                )

    def vectors(self, names: Sequence[str], embed: Callable[[Sequence[str]], Tensor]) -> Tensor:
        """See :class:`References`.

        Raises:
            UsageError: names that the file does not have; says which.
        """
        if missing := [name for name in names if name not in self._known]:
            more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
            raise UsageError(
                f"{self._file}: holds nothing of {', '.join(missing[:_NAMED])}{more}; take the "
                "names it was made for with --preset published, or look for the classes in "
                "pictures with --set references=FOLDER/"
            )
        return torch.stack([self._known[name] for name in names])


class RandomVectors:
    """Nothing that any class looks like: with random weights, to measure speed."""

    checkpoints: tuple[CheckpointRecord, ...] = ()

    def __init__(self, encoder: PatchEncoder, seed: int) -> None:
        self._encoder, self._seed = encoder, seed

    def vectors(self, names: Sequence[str], embed: Callable[[Sequence[str]], Tensor]) -> Tensor:
        """See :class:`References`."""
        generator = torch.Generator().manual_seed(self._seed)
        drawn = torch.randn(len(names), self._encoder.width, generator=generator)
        return functional.normalize(drawn, dim=1).to(self._encoder.device)


class Retrieved:
    """What the pictures that CLIP finds of a class have in common."""

    def __init__(
        self, archive: Archive, settings: ReCoSettings, eyes: Eyes, runtime: Runtime
    ) -> None:
        """Load the CLIP that looks pictures up, and let it see all of them."""
        self._archive, self._settings, self._eyes = archive, settings, eyes
        self._precision = runtime.precision
        self._clip = load_clip(
            settings.retrieval_architecture, settings.retrieval_pretrained, runtime
        )
        self._retrieval = Retrieval(archive, self._clip, runtime.precision)
        self.checkpoints = (*archive.records, self._clip.checkpoint)

    def vectors(self, names: Sequence[str], embed: Callable[[Sequence[str]], Tensor]) -> Tensor:
        """See :class:`References`; remembered where all weights have a digest."""

        def build() -> dict[str, npt.NDArray[np.float32]]:
            return {"vectors": self._made(names, embed).cpu().numpy()}

        models = (*self.checkpoints, *self._eyes.encoder.checkpoints, self._eyes.clip.checkpoint)
        key: dict[str, Any] = {
            "version": VERSION,
            "names": list(names),
            "models": [asdict(record) for record in models],
            "precision": self._precision,
            **{
                name: getattr(self._settings, name)
                for name in ("prompts", "pictures", "picture_side", "columns", "sharpness")
            },
            "context": list(self._settings.context),
        }
        kept = all(record.sha256 is not None for record in models)
        found = remembered("reco-vectors", key, build) if kept else build()
        return torch.from_numpy(found["vectors"]).to(self._eyes.encoder.device)

    @torch.inference_mode()
    def _made(self, names: Sequence[str], embed: Callable[[Sequence[str]], Tensor]) -> Tensor:
        """Of the context first, each without what was made before it; then of the classes."""
        asked = [*self._settings.context, *names]
        pictures = self._retrieval.nearest(
            self._clip.embed_queries(asked, templates(self._settings.prompts)),
            self._settings.pictures,
        )
        text, context = embed(asked), dict[str, Tensor]()
        with progress("classes looked up", len(asked)) as advance:
            for number, name in enumerate(self._settings.context):
                context[name] = self._common(pictures[number], text[number], [*context.values()])
                advance(1)
            made = []
            for number, name in enumerate(names, start=len(self._settings.context)):
                own = context.get(_LIKE.get(name, name))
                if own is None:
                    own = self._common(pictures[number], text[number], [*context.values()])
                made.append(own)
                advance(1)
        return torch.stack(made)

    def _common(self, numbers: Sequence[int], text: Tensor, context: Sequence[Tensor]) -> Tensor:
        """The vector of what some pictures share that a text names and the context is not."""
        eyes, features, weights = self._eyes, [], []
        for start in range(0, len(numbers), TOGETHER):
            squares = self._archive.squares(
                numbers[start : start + TOGETHER],
                self._settings.picture_side,
                mean=eyes.encoder.mean,
                std=eyes.encoder.std,
                mode="bilinear",
                device=eyes.encoder.device,
            )
            found = eyes.places(squares)
            size = (found.shape[2], found.shape[3])
            features.append(found)
            weights.append(eyes.told(eyes.words(squares), text[None], size)[:, 0])
        places = torch.cat(features)
        named = torch.cat(weights) * context_weights(places, context)
        return cosegmented(places, named, self._settings.columns).vector
