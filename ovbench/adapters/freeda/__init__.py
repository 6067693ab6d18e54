"""FreeDA: superpixels of DINOv2's patches, compared with what diffusion shows of each text.

Barsellotti et al., "Training-Free Open-Vocabulary Segmentation with Offline Diffusion-Augmented
Prototype Generation", CVPR 2024; released code: github.com/aimagelab/freeda. Its collection of
prototypes is rebuilt from support pictures where its files are not at hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from ovbench.adapters.freeda.collection import recipe
from ovbench.adapters.freeda.loading import load_collection
from ovbench.adapters.freeda.regions import pooled, superpixels
from ovbench.adapters.freeda.settings import FreeDASettings
from ovbench.adapters.parts.published import eight
from ovbench.adapters.parts.sliding import SIZES, Found, Sliding, sized
from ovbench.adapters.parts.templates import templates
from ovbench.adapters.parts.vfm import shown, with_statistics
from ovbench.errors import UsageError
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.published import Published
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.stages import stage
from ovbench.models.clip.model import load_clip
from ovbench.models.patches.encoder import PatchEncoder, load_patch_encoder
from ovbench.models.weights.untrained import untrained
from ovbench.support import Recipe


class FreeDA(Sliding):
    """Sigmoids of cosines with prototypes, region by region, and the whole window's cosine."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="FreeDA: superpixels compared with prototypes of pictures made of each text",
        kind="training-free",
        paper="Barsellotti et al., CVPR",
        year=2024,
        backbones=("Stable Diffusion", "DINOv2", "CLIP"),
        weights=(
            "clip/ViT-L-14 openai",
            "dinov2/dinov2_large",
            "stable_diffusion/stable_diffusion_v1_5",
        ),
        code_licence="none stated",
        packages=("scikit-image",),
    )
    Settings = FreeDASettings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # the smaller pair of the paper's tables
        "base": {"architecture": "ViT-B-16", "encoder": "dinov2_base"},
        "index": {"collection": "index"},
    }
    published: ClassVar[Sequence[Published]] = eight(
        names=None,
        source="released code, configs/, which has no benchmark with a background",
        common={"collection": "index"},
        voc21=None,
        context60=None,
        cocoobject=None,
        voc20={"superpixel_sigma": 0.7},
        context59={},
        cocostuff={"superpixel_smallest": 100},
        ade20k={},
        cityscapes={
            "superpixel_scale": 20.0,
            "superpixel_sigma": 0.5,
            "superpixel_smallest": 50,
        },
    )
    # Scores are as large as windows: 0.8 MB for each text.
    at_a_time: ClassVar[int] = 8
    settings: FreeDASettings

    def __init__(self, settings: FreeDASettings, runtime: Runtime) -> None:
        """Load what looks at images; what makes pictures only when some are missing.

        Raises:
            UsageError: weights or files that cannot be had, or are not what they should be.
        """
        self._clip = load_clip(settings.architecture, settings.pretrained, runtime)
        self._encoder = _encoder(settings.encoder, runtime)
        sides = {"side": 1.0}
        settings = sized(settings, sides, self._encoder.image_size)
        self.settings = sized(settings, SIZES, self._clip.image_size)
        self.device, self.patch = self._clip.device, self._encoder.patch_size
        if self._side % self.patch:
            raise UsageError(f"side={self._side} must be a multiple of {self.patch}")
        self._collection = load_collection(
            self.settings, self._encoder, self._pictures, self._embedded, runtime
        )
        self.checkpoints = (
            self._clip.checkpoint,
            *self._encoder.checkpoints,
            *self._collection.checkpoints,
        )

    @staticmethod
    def recipe(settings: FreeDASettings, seed: int) -> Recipe:
        """What decides the support pictures."""
        return recipe(settings, seed)

    def embed(self, texts: Sequence[str]) -> Tensor:
        """See :class:`~ovbench.adapters.parts.sliding.Sliding`; also looks up what they show."""
        text = self._embedded(texts)
        with stage("prototypes"):
            self._prototypes = normalize(self._collection.prototypes(texts, text), dim=1)
        return text

    def read(self, windows: Tensor) -> Found:
        """Patches ``(n, D, h, w)``, regions ``(n, H, W)`` int64, and CLIP's vectors ``(n, d)``."""
        # The bytes again: whole numbers go into superpixels.
        pixels = (shown(windows, self.mean, self.std) * 255).round_().clamp_(0, 255)
        regions = torch.zeros_like(pixels[:, 0], dtype=torch.long)
        settings = self.settings
        if settings.regions == "superpixels":
            with stage("superpixels"):
                found = [
                    superpixels(
                        one / 255,
                        settings.superpixel_scale,
                        settings.superpixel_sigma,
                        settings.superpixel_smallest,
                    )
                    for one in pixels
                ]
            regions = torch.stack(found)
        square = (self._clip.image_size, self._clip.image_size)
        small = interpolate(pixels, square, mode="bicubic", align_corners=False)
        whole = self._clip.encode_image(
            with_statistics(small / 255, self._clip.mean, self._clip.std)
        )
        return self._patches(pixels), regions, whole

    def scores(
        self, found: Found, windows: Tensor, queries: Tensor, background: bool
    ) -> tuple[Tensor, Tensor]:
        """See :class:`~ovbench.adapters.parts.sliding.Sliding`."""
        settings, prototypes = self.settings, self._prototypes[queries]
        features, regions, whole = found
        size = cast("tuple[int, int]", tuple(windows.shape[-2:]))
        local = torch.einsum("kd,ndhw->nkhw", prototypes, normalize(features, dim=1)).sigmoid()
        local = interpolate(local, size, mode="bilinear", align_corners=True)
        if settings.regions == "superpixels":
            for scores, patches, owner in zip(local, features, regions, strict=True):
                over_regions(scores, patches, owner, prototypes)
        of_window = whole @ self.text[queries].mT
        mixed = local.mul_(settings.local_share)
        mixed += (1 - settings.local_share) * of_window[:, :, None, None]
        if background:
            constant = torch.full_like(mixed[:, :1], settings.background_score)
            mixed = torch.cat([constant, mixed], dim=1)
        return mixed, queries

    def _embedded(self, texts: Sequence[str]) -> Tensor:
        return self._clip.embed_queries(texts, templates(self.settings.prompts), unit=False)

    @property
    def _side(self) -> int:
        return int(self.settings.side or 0)

    def _pictures(self, images: npt.NDArray[np.uint8]) -> Tensor:
        """The encoder's patches of pictures ``(n, H, W, 3)``; ``(n, D, h, w)``."""
        return self._patches(torch.from_numpy(images).to(self.device).permute(0, 3, 1, 2).float())

    def _patches(self, pixels: Tensor) -> Tensor:
        """Of ``(n, 3, H, W)``, 0..255, squashed without antialiasing as torchvision has it."""
        square = interpolate(pixels, (self._side, self._side), mode="bilinear")
        own = with_statistics(square / 255, self._encoder.mean, self._encoder.std)
        return self._encoder.features(own, norm=True)


def over_regions(scores: Tensor, features: Tensor, regions: Tensor, prototypes: Tensor) -> None:
    """Put each region's score in place of its pixels', where any patch has seen the region.

    Args:
        scores: ``(k, H, W)``, changed in place.
        features: of patches, ``(D, h, w)``, of any length.
        regions: ``(H, W)`` int64.
        prototypes: ``(k, D)``, of unit length.
    """
    means, seen = pooled(features, regions)
    of_regions = (prototypes @ normalize(means, dim=1).mT).sigmoid()
    torch.where(seen[regions], of_regions[:, regions], scores, out=scores)


def _encoder(name: str, runtime: Runtime) -> PatchEncoder:
    if untrained(name, runtime):
        return load_patch_encoder("dino", name, runtime)
    return load_patch_encoder("dinov2", name, runtime)
