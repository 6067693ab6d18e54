"""CLIP-DIY: CLIP looks at patches of several sizes, and saliency says where objects are.

Wysoczańska et al., "CLIP-DIY: CLIP Dense Inference Yields Open-Vocabulary Semantic Segmentation
For-Free", WACV 2024; released code: github.com/wysoczanska/clip-diy. CLIP is used as it was
trained, on whole pictures: here every patch is one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ovbench.adapters.parts.candidates import allowed_labels, pairs
from ovbench.adapters.parts.published import eight
from ovbench.adapters.parts.templates import TemplateSet, templates
from ovbench.harness.contract.arrays import Image, LabelMap
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.published import Published
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import MANY, SIDE, setting
from ovbench.harness.contract.stages import stage
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.models.clip.model import load_clip
from ovbench.models.patches.saliency import load_saliency
from ovbench.models.pixels.inputs import input_tensor, normalised, pixels_of, resized
from ovbench.models.pixels.labels import decide, label_map
from ovbench.models.pixels.scores import Scores, resizing

CROPS_AT_A_TIME = 64
"""Through the image tower: all that the released sizes cut of an image, 59."""


@dataclass(frozen=True)
class CLIPDIYSettings:
    """Settings of :class:`CLIPDIY`."""

    architecture: str = setting(
        "ViT-B-32", "released code, configs/, clip_model", "open_clip's name of the CLIP"
    )
    pretrained: str = setting(
        "laion2b_s34b_b79k",
        "released code, configs/, clip_model",
        "open_clip's tag of its weights, tag@revision, or random",
        picks="clip/{architecture} {pretrained}",
    )
    saliency: str = setting(
        "found_dino_vits8",
        "paper and released code, extract_saliency.py: FOUND",
        "model that tells foreground from background, of the catalogue",
        picks="saliency/{saliency}",
    )
    saliency_long_side: int = setting(
        640,
        "released code, extract_saliency.py: the image's own size, which is no more on its "
        "benchmarks; larger images are shrunk: our choice",
        "limit of the longer side in pixels that the saliency model sees",
        most=SIDE,
    )
    prompts: TemplateSet = setting(
        "phrase",
        "released code, clip_conv.py: its test for 'an' never holds",
        "set of prompt templates whose embeddings are averaged",
    )
    side: int = setting(
        256,
        "released code, configs/, img_size",
        "side in pixels of the square that an image is squashed to",
        most=SIDE,
    )
    patches: tuple[int, ...] = setting(
        (256, 128, 64),
        "released code, configs/, patch_sizes, of equal weight",
        "sides in pixels of the patches, each size a map of its own",
        most=SIDE,
    )
    steps: int = setting(
        2, "released code, configs/, strides", "steps in which a patch moves by its own side",
        most=MANY,
    )  # fmt: skip
    enlarge: Literal["scores", "labels"] = setting(
        "scores",
        "our choice; the released code enlarges labels, evaluate.py",
        "what is brought from the square to the image: bilinearly, or by the nearest",
    )

    def __post_init__(self) -> None:
        if self.saliency_long_side < 1 or not self.patches:
            raise ValueError("saliency_long_side must be positive, and there must be patches")
        if not 1 <= self.steps <= min(self.patches) <= max(self.patches) <= self.side:
            raise ValueError("patches must be at least as large as steps and at most as side")


class CLIPDIY:
    """Mean over scales of the cosines of patches, weighed by saliency; the largest wins."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="CLIP-DIY: whole patches of several sizes, weighed by saliency",
        kind="training-free",
        paper="Wysoczańska et al., WACV",
        year=2024,
        backbones=("CLIP", "DINO", "FOUND"),
        weights=(
            "clip/ViT-B-32 laion2b_s34b_b79k",
            "dino/dino_vits8",
            "saliency/found_dino_vits8",
        ),
        code_licence="none stated",
    )
    Settings = CLIPDIYSettings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"released_code": {"enlarge": "labels"}}
    published: ClassVar[Sequence[Published]] = eight(
        names="clip_diy",
        source="released code, configs/cfg_clip_*.yaml",
        common={"enlarge": "labels"},
        voc21={},
        context60=None,
        cocoobject={},
        voc20=None,
        context59=None,
        cocostuff=None,
        ade20k=None,
        cityscapes=None,
    )

    def __init__(self, settings: CLIPDIYSettings, runtime: Runtime) -> None:
        self.settings = settings
        self._clip = load_clip(settings.architecture, settings.pretrained, runtime)
        self._saliency = load_saliency(settings.saliency, runtime)
        self.checkpoints = (self._clip.checkpoint, *self._saliency.checkpoints)

    def prepare(self, vocabulary: Vocabulary) -> None:
        """Embed every query of the vocabulary; background is one like any other."""
        self._vocabulary = vocabulary
        self._labels = vocabulary.query_labels
        self._text = self._clip.embed_queries(
            vocabulary.query_texts, templates(self.settings.prompts)
        )

    @torch.inference_mode()
    def segment(
        self, images: Sequence[Image], candidates: Sequence[Collection[int]] | None = None
    ) -> list[LabelMap]:
        """See :class:`~ovbench.Segmenter`; patches are encoded together, images one by one."""
        return [self._answer(image, chosen) for image, chosen in pairs(images, candidates)]

    def _answer(self, image: Image, candidates: Collection[int] | None) -> LabelMap:
        vocabulary = self._vocabulary
        allowed = np.isin(self._labels, allowed_labels(vocabulary, candidates))
        labels = self._labels[allowed]
        with stage("encode"):
            scores = self._cosines(image, self._text[torch.from_numpy(allowed)])
        if vocabulary.background:  # a weight that all have alike decides nothing
            with stage("saliency"):
                scores = weighed(scores, self._foreground(image), torch.from_numpy(labels == 0))
        height, width, _ = image.shape
        with stage("upsample"):
            if self.settings.enlarge == "scores":
                return label_map(scores, labels, (height, width), dtype=vocabulary.label_dtype)
            small = decide(Scores(scores), labels, dtype=vocabulary.label_dtype)
            rows, columns = (np.arange(n) * self.settings.side // n for n in (height, width))
            nearest: LabelMap = small[rows[:, None], columns]
            return nearest

    def _cosines(self, image: Image, text: Tensor) -> Tensor:
        """Of texts ``(Q, d)`` with an image, ``(Q, side, side)``."""
        settings, clip = self.settings, self._clip
        # As OpenCV resizes.
        pixels = resized(
            pixels_of(image, clip.device)[None],
            (settings.side, settings.side),
            mode="bilinear",
            antialias=False,
            whole_numbers=True,
        )[0]
        grids = []
        for patch in settings.patches:
            crops = crops_of(pixels, patch, patch // settings.steps)
            parts = torch.split(crops.flatten(0, 1), CROPS_AT_A_TIME)
            embedded = torch.cat([self._embedded(part) for part in parts])
            grids.append((text @ embedded.mT).reshape(-1, *crops.shape[:2]))
        return averaged(grids, settings.side)

    def _embedded(self, crops: Tensor) -> Tensor:
        """``(n, d)`` of ``(n, 3, p, p)``, as CLIP's own image processor puts them in."""
        clip = self._clip
        size = (clip.image_size, clip.image_size)
        pixels = resized(crops, size, mode="bicubic", whole_numbers=True)
        return clip.encode_image(normalised(pixels, clip.mean, clip.std))

    def _foreground(self, image: Image) -> Tensor:
        """How probably a place of the square is an object's, ``(side, side)``."""
        model, (height, width, _) = self._saliency, image.shape
        scale = min(1.0, self.settings.saliency_long_side / max(height, width))
        size = (max(1, round(height * scale)), max(1, round(width * scale)))
        pixels = input_tensor(
            image, size, mean=model.mean, std=model.std, mode="bilinear", device=model.device
        )
        found = model.predict(pixels[None])[None]
        square = (self.settings.side, self.settings.side)
        return functional.interpolate(found, square, mode="bilinear", align_corners=False)[0, 0]


def crops_of(pixels: Tensor, patch: int, stride: int) -> Tensor:
    """Every patch that fits into ``(3, S, S)``; ``(n, n, 3, patch, patch)``, rows first."""
    return pixels.unfold(1, patch, stride).unfold(2, patch, stride).permute(1, 2, 0, 3, 4)


def averaged(grids: Sequence[Tensor], side: int) -> Tensor:
    """The mean of square maps ``(Q, n, n)`` of any n, enlarged bilinearly; ``(Q, side, side)``.

    A map is stretched over the whole square, although its outermost patches' centres lie further
    in: as in the released code.
    """
    total = grids[0].new_zeros(len(grids[0]), side, side)
    for grid in grids:
        enlarge = resizing(grid.shape[1], side).to(grid.device)
        total += enlarge @ grid @ enlarge.mT
    return total / len(grids)


def weighed(scores: Tensor, foreground: Tensor, background: Tensor) -> Tensor:
    """Scores by how probably a place is what they are of.

    Args:
        scores: ``(Q, S, S)``.
        foreground: ``(S, S)``, 0..1.
        background: ``(Q,)`` bool, the queries that describe background.

    Returns:
        ``(Q, S, S)``.
    """
    behind = background.to(scores.device)[:, None, None]
    return scores * torch.where(behind, 1 - foreground, foreground)
