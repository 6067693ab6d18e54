"""Talk2DINO: texts are brought to where DINOv2 has patches; each class has a mask by itself.

Barsellotti et al., "Talking to DINO: Bridging Self-Supervised Vision Backbones with Language for
Open-Vocabulary Segmentation", ICCV 2025; released code: github.com/lorebianchi98/Talk2DINO.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from ovbench.adapters.parts.published import eight
from ovbench.adapters.parts.sliding import Found, Sliding, SlidingSettings
from ovbench.adapters.parts.templates import TemplateSet, templates
from ovbench.adapters.parts.vfm import WEIGHTS, encoder_of
from ovbench.errors import UsageError
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.published import Published
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import FACTOR, MANY, SIDE, setting
from ovbench.harness.contract.stages import stage
from ovbench.models.clip.model import load_clip
from ovbench.models.clip.text_map import load_text_map
from ovbench.models.patches.encoder import Reading
from ovbench.refine.pamr import pamr

_CONFIG = "released code, configs/*/dinotext_*_vitb_mlp_infonce.yml"
_EVAL = "released code, configs/*/eval_*.yml"
SCALE = 0.125
"""Of queries, as the released code has it for all encoders: 64 channels a head, d ** -0.5."""


@dataclass(frozen=True)
class Talk2DINOSettings(SlidingSettings):
    """Settings of :class:`Talk2DINO`."""

    architecture: str = setting(
        "ViT-B-16", f"{_CONFIG}, clip_model_name", "open_clip's name of the CLIP that reads texts"
    )
    pretrained: str = setting(
        "openai",
        f"{_CONFIG}, clip_model_name",
        "open_clip's tag of its weights, tag@revision, or random",
        picks="clip/{architecture} {pretrained}",
    )
    encoder: str = setting(
        "dinov2_registers_base",
        f"{_CONFIG}, model_name",
        "the encoder of patches: of the catalogue, a hub id owner/name[@revision], or random",
        picks=WEIGHTS,
    )
    weights: str = setting(
        "talk2dino_vitb",
        f"{_CONFIG}, proj_name",
        "the map of texts: of the catalogue, or random",
        picks="talk2dino/{weights}",
    )
    prompts: TemplateSet = setting(
        "subset7",
        f"{_EVAL}, template",
        "set of prompt templates whose embeddings are averaged as they are, then mapped",
    )
    short_side: int | None = setting(
        448,
        "released code, segmentation/configs/_base_/datasets: img_scale=(2048, 448)",
        "shorter side of the input in pixels, resized as OpenCV does",
        least=1,
        most=SIDE,
    )
    window: int | None = setting(
        448,
        "released code, test_cfg crop_size=(448, 448)",
        "side of windows in pixels, 0 the whole image",
        most=SIDE,
    )
    window_stride: int | None = setting(
        224, "released code, test_cfg stride=(224, 224)", "pixels between windows", most=SIDE
    )
    side: int = setting(
        448,
        f"{_CONFIG}, resize_dim",
        "windows of another size are squashed to a square of this side in pixels",
        least=16,
        most=SIDE,
    )
    background_score: float = setting(
        0.55,
        f"{_EVAL}, bg_thresh; 0.54 for ViT-L",
        "what background scores everywhere; a class scores the sigmoid of its cosine",
        least=0,
        most=1,
    )
    cleaning: float = setting(
        0.0,
        "released code, with_bg_clean: 0.2 (lambda_bg) on VOC and COCO-Object",
        "weight of what the encoder's heads look at, each as much as it goes with a text; 0 is off",
        least=0,
        most=FACTOR,
    )
    pamr_iterations: int = setting(
        0,
        "released code, eval_*.yml; eval_*_pamr.yml: 10",
        "refine a window's masks by pixels of like colour; 0 is off",
        least=0,
        most=MANY,
    )


class Talk2DINO(Sliding):
    """Sigmoids of the cosines of DINOv2's patches with mapped texts; background is a constant."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="Talk2DINO: CLIP's texts mapped to DINOv2's patches, learned from captions",
        kind="weakly trained",
        paper="Barsellotti et al., ICCV",
        year=2025,
        backbones=("CLIP", "DINOv2"),
        weights=(
            "clip/ViT-B-16 openai",
            "dinov2/dinov2_registers_base",
            "talk2dino/talk2dino_vitb",
        ),
        code_licence="none stated",
    )
    Settings = Talk2DINOSettings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "pamr": {"pamr_iterations": 10},
        # configs/*/dinotext_*_vitl_mlp_infonce.yml and eval_*_vitl.yml
        "large": {
            "encoder": "dinov2_registers_large",
            "weights": "talk2dino_vitl",
            "background_score": 0.54,
        },
        # configs/cityscapes/dinotext_cityscapes_dinov3_vitb_mlp_infonce.yml
        "dinov3": {"encoder": "dinov3_vitb16", "weights": "talk2dino_dinov3_vitb"},
    }
    published: ClassVar[Sequence[Published]] = eight(
        names=None,
        source="released code, configs/, with PAMR as in its tables",
        common={"pamr_iterations": 10},
        voc21={"cleaning": 0.2},
        context60={},
        cocoobject={"cleaning": 0.2},
        voc20={},
        context59={},
        cocostuff={},
        ade20k={},
        cityscapes={},
    )
    # Masks are as large as windows: 0.8 MB for each text.
    at_a_time: ClassVar[int] = 8
    settings: Talk2DINOSettings

    def __init__(self, settings: Talk2DINOSettings, runtime: Runtime) -> None:
        self.settings = settings
        self._clip = load_clip(settings.architecture, settings.pretrained, runtime)
        self._encoder = encoder_of(settings.encoder, runtime)
        joint, width = int(self._clip.visual.output_dim), self._encoder.width
        self._map = load_text_map(settings.weights, joint, width, runtime)
        self.checkpoints = (
            self._clip.checkpoint,
            *self._encoder.checkpoints,
            *self._map.checkpoints,
        )
        self.device = self._clip.device
        self.patch = self._encoder.patch_size
        if settings.side % self.patch:
            raise UsageError(f"side={settings.side} must be a multiple of {self.patch}")

    def embed(self, texts: Sequence[str]) -> Tensor:
        """See :class:`~ovbench.adapters.parts.sliding.Sliding`."""
        prompts = templates(self.settings.prompts)
        return self._map(self._clip.embed_queries(texts, prompts, unit=False, length=True))

    def read(self, windows: Tensor) -> Found:
        """Patches ``(n, d, h, w)``, and what each head's class token looks at, ``(n, H, h, w)``.

        The latter are products of queries and keys before any softmax, none without cleaning.
        """
        square = (self.settings.side, self.settings.side)
        if windows.shape[-2:] != square:
            windows = interpolate(windows, square, mode="bilinear", antialias=True)
        tokens = Reading(norm=True)
        if not self.settings.cleaning:
            (patches,) = self._encoder.read(windows, tokens)
            return (patches.patches,)
        asked = (tokens, Reading(facet="query"), Reading(facet="key"))
        patches, query, key = self._encoder.read(windows, *asked)
        count, heads, grid = len(windows), self._encoder.heads, key.patches.shape[-2:]
        of_class = query.class_token.reshape(count, heads, -1) * SCALE
        keys = key.patches.reshape(count, heads, -1, *grid)
        return patches.patches, torch.einsum("nad,nadhw->nahw", of_class, keys)

    def scores(
        self, found: Found, windows: Tensor, queries: Tensor, background: bool
    ) -> tuple[Tensor, Tensor]:
        """See :class:`~ovbench.adapters.parts.sliding.Sliding`."""
        settings, texts = self.settings, self.text[queries]
        features, *looks = found
        masks = torch.einsum("kd,ndhw->nkhw", texts, normalize(features, dim=1)).sigmoid()
        for look in looks:
            masks = cleaned(masks, features, look, texts, settings.cleaning)
        size = cast("tuple[int, int]", tuple(windows.shape[-2:]))
        masks = interpolate(masks, size, mode="bilinear", align_corners=True)
        if settings.pamr_iterations:
            with stage("refine"):
                masks = torch.stack(
                    [
                        pamr(image, mask, iterations=settings.pamr_iterations)
                        for image, mask in zip(windows, masks, strict=True)
                    ]
                )
        if background:
            masks = torch.cat([torch.full_like(masks[:, :1], settings.background_score), masks], 1)
        return masks, queries


def cleaned(masks: Tensor, features: Tensor, looks: Tensor, texts: Tensor, weight: float) -> Tensor:
    """Masks with what the encoder's heads look at, every window by itself.

    Released code, similarity_assignment_weighted: a head's patches, weighed by where it looks, say
    how much it goes with a text; the heads' looks are averaged by that, and stretched over the
    range of all masks of the window.

    Args:
        masks: ``(n, k, h, w)``.
        features: ``(n, d, h, w)``, of any length.
        looks: ``(n, H, h, w)``, before a softmax.
        texts: ``(k, d)``, of unit length.
        weight: of the looks; masks have 1.
    """
    flat = looks.flatten(2)
    seen = torch.einsum("nap,ndp->nad", flat, features.flatten(2)) / flat.shape[2]
    share = torch.einsum("kd,nad->nka", texts, normalize(seen, dim=-1)).softmax(dim=-1)
    looked = (share @ flat).softmax(dim=-1)
    low, high = looked.amin(dim=(1, 2), keepdim=True), looked.amax(dim=(1, 2), keepdim=True)
    looked = ((looked - low) / high).reshape(masks.shape)
    bottom, top = masks.amin(dim=(1, 2, 3), keepdim=True), masks.amax(dim=(1, 2, 3), keepdim=True)
    return (masks + weight * (looked * (top - bottom) + bottom)) / (1 + weight)
