"""Features of classes, from pictures that Stable Diffusion makes of their names (section 3.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from ovbench.adapters.rim.encoders import DenseEncoder
from ovbench.adapters.rim.foreground import foreground
from ovbench.adapters.rim.matching import References
from ovbench.adapters.rim.pooling import masked_average
from ovbench.adapters.rim.settled import Settled
from ovbench.harness.contract.progress import Advance, progress
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.stages import stage
from ovbench.harness.files.cache import remembered
from ovbench.models.pixels.inputs import squashed
from ovbench.models.sam.promptable import PromptableSegmenter
from ovbench.support import SupportSet

VERSION = 1
"""Raised when the same pictures and settings give other prototypes."""

BATCH = 8
"""Pictures encoded together."""

_STARTS = 10
"""Of k-means."""


class Prototypes(NamedTuple):
    """What a class's pictures show, one feature per picture.

    Attributes:
        foreground: ``(N, D)`` float32, of what the mask covers.
        background: ``(B, D)``, of the rest, where there is a rest.
        image: ``(N, D)``, of all.
        from_attention: ``(N,)`` bool, where SAM's mask was empty.
    """

    foreground: npt.NDArray[np.float32]
    background: npt.NDArray[np.float32]
    image: npt.NDArray[np.float32]
    from_attention: npt.NDArray[np.bool_]


class PrototypeMaker:
    """Computes prototypes, or recalls those it has computed before."""

    def __init__(
        self,
        settings: Settled,
        runtime: Runtime,
        encoder: DenseEncoder,
        sam: PromptableSegmenter | None,
    ) -> None:
        """Take models that are loaded.

        Args:
            sam: None where the attention alone makes the masks.
        """
        self._settings, self._runtime, self._encoder, self._sam = settings, runtime, encoder, sam

    def make(self, sets: Sequence[SupportSet]) -> list[Prototypes]:
        """The prototypes of each set."""
        with progress("reference features", sum(one.count for one in sets)) as advance:
            return [self._of(one, advance) for one in sets]

    def parts(self, support: SupportSet, prototypes: Prototypes) -> npt.NDArray[np.float32]:
        """A class's subcategories, ``(t, D)``; fewer than wanted if it has fewer pictures."""
        key = {
            **self._key(support),
            "pooled": self._settings.pooled,
            "subcategories": self._settings.subcategories,
        }
        wanted, seed = self._settings.subcategories, self._runtime.seed
        pooled = self.pooled(prototypes)
        return remembered(
            "rim-subcategories", key, lambda: {"parts": cluster(pooled, wanted, seed)}
        )["parts"]

    def backgrounds(
        self, sets: Sequence[SupportSet], made: Sequence[Prototypes]
    ) -> npt.NDArray[np.float32]:
        """The references of what surrounds all classes, ``(B, D)``; none if nothing does."""
        rest = np.concatenate([prototypes.background for prototypes in made])
        wanted, seed = self._settings.backgrounds, self._runtime.seed
        if wanted == 1 and len(rest):
            mean: npt.NDArray[np.float32] = rest.mean(axis=0, keepdims=True)
            return mean
        key = {"of": [self._key(one) for one in sets], "backgrounds": wanted}
        found = remembered("rim-backgrounds", key, lambda: {"all": cluster(rest, wanted, seed)})
        return found["all"]

    def pooled(self, prototypes: Prototypes) -> npt.NDArray[np.float32]:
        """What describes the class in each picture."""
        return prototypes.image if self._settings.pooled == "image" else prototypes.foreground

    def _of(self, support: SupportSet, advance: Advance) -> Prototypes:
        fresh = False

        def build() -> Mapping[str, npt.NDArray[Any]]:
            nonlocal fresh
            fresh = True
            return self._build(support, advance)._asdict()

        found = remembered("rim-prototypes", self._key(support), build)
        if not fresh:
            advance(support.count)
        return Prototypes(**found)

    def _key(self, support: SupportSet) -> dict[str, Any]:
        names = (
            *("attention_threshold", "attention_scale", "reference_mask"),
            *("points", "several_masks", "features", "layer", "facet"),
            *("unet_module", "unet_timestep", "reference_side"),
        )
        values = asdict(self._settings)
        models = (*self._encoder.checkpoints, *(self._sam.checkpoints if self._sam else ()))
        return {
            "version": VERSION,
            "support": support.digest,
            "models": [asdict(record) for record in models],
            "precision": self._runtime.precision,
            "seed": self._runtime.seed,
            **{name: values[name] for name in names},
        }

    def _build(self, support: SupportSet, advance: Advance) -> Prototypes:
        with stage("masks"):
            cut = foreground(support, self._settings, self._sam, self._runtime.seed, advance)
        with stage("features"):
            grids = self._grids(support.images)
            masks = torch.from_numpy(cut.masks)
            inside, outside = (
                torch.cat([masked_average(*each) for each in zip(grids, parts, strict=True)])
                for parts in (masks[:, None], ~masks[:, None])
            )
        rest = (~masks).flatten(1).any(dim=1).to(outside.device)
        return Prototypes(
            inside.cpu().numpy(),
            outside[rest].cpu().numpy(),
            grids.flatten(2).mean(dim=2).cpu().numpy(),
            cut.from_attention,
        )

    def _grids(self, images: npt.NDArray[np.uint8]) -> Tensor:
        """Features of the pictures; ``(N, D, h, w)``."""
        side, encoder = self._settings.reference_side, self._encoder
        starts = range(0, len(images), BATCH)
        batches = [list(images[start : start + BATCH]) for start in starts]
        return torch.cat([encoder.read(squashed(encoder.model, b, side)) for b in batches])


def cluster(prototypes: npt.NDArray[np.float32], count: int, seed: int) -> npt.NDArray[np.float32]:
    """The centres of k-means on unit features.

    Args:
        prototypes: ``(N, D)``.

    Returns:
        ``(t, D)``: ``count`` of them, or as many as there are different prototypes.
    """
    from sklearn.cluster import KMeans

    unit = functional.normalize(torch.from_numpy(prototypes), dim=-1).numpy()
    different = np.unique(unit, axis=0)
    if len(different) <= count:
        return different
    found = KMeans(count, n_init=_STARTS, random_state=seed).fit(unit)
    centres: npt.NDArray[np.float32] = found.cluster_centers_.astype(np.float32)
    return centres


class Gallery(NamedTuple):
    """References with what they stand for.

    Attributes:
        labels: ``(R,)``, of the vocabulary.
    """

    references: References
    labels: npt.NDArray[np.intp]

    def within(self, allowed: npt.NDArray[np.intp]) -> Gallery:
        """Those that stand for some labels."""
        kept = np.isin(self.labels, allowed)
        if kept.all():
            return self
        given = self.references
        keep = torch.as_tensor(kept, device=given.whole.device)
        parts = keep[given.owner]
        renumbered = keep.cumsum(0) - 1
        return Gallery(
            References(
                given.whole[keep],
                given.parts[parts],
                renumbered[given.owner[parts]],
                given.agents[keep],
            ),
            self.labels[kept],
        )


def gallery(
    whole: Sequence[Tensor],
    parts: Sequence[Tensor],
    labels: Sequence[int],
    backgrounds: Tensor,
    *,
    background_is_agent: bool,
) -> Gallery:
    """Put references together.

    Args:
        whole: ``(D,)`` per reference.
        parts: ``(t, D)`` per reference.
        labels: per reference.
        backgrounds: ``(B, D)``, each of label 0 and without parts but itself.
    """
    agents = [True] * len(whole)
    whole, parts = [*backgrounds, *whole], [*backgrounds[:, None], *parts]
    labels = [0] * len(backgrounds) + [*labels]
    agents = [background_is_agent] * len(backgrounds) + agents
    device = whole[0].device
    sizes = torch.tensor([len(each) for each in parts], device=device)
    references = References(
        torch.stack(list(whole)),
        torch.cat(list(parts)),
        torch.arange(len(whole), device=device).repeat_interleave(sizes),
        torch.tensor(agents, device=device),
    )
    return Gallery(references, np.array(labels, dtype=np.intp))
