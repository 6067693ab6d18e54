"""RADSeg: RADIO's patches in SigLIP 2's space, gathered from like places; one network, no CLIP.

Alama et al., "RADSeg: Unleashing Parameter and Compute Efficient Zero-Shot Open-Vocabulary
Segmentation Using Agglomerative Models", 2025; released code: github.com/RADSeg-OVSS/RADSeg.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize, pad

from ovbench.adapters.parts.candidates import allowed_labels, pairs
from ovbench.adapters.parts.published import eight
from ovbench.adapters.parts.templates import TemplateSet, templates
from ovbench.errors import UsageError
from ovbench.harness.contract.arrays import Image, LabelMap
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.published import Published
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import FACTOR, MANY, SIDE, setting
from ovbench.harness.contract.stages import stage
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.models.clip.model import load_clip
from ovbench.models.pixels.inputs import input_tensor, kept_ratio, up_to_multiples
from ovbench.models.pixels.labels import decide
from ovbench.models.pixels.scores import Scores
from ovbench.models.pixels.windows import Windows
from ovbench.models.radio.model import SAM, TEXT, load_radio
from ovbench.models.radio.self_correlation import (
    self_correlating_aggregation,
    self_correlating_attention,
)
from ovbench.models.sam.model import load_sam
from ovbench.models.sam.promptable import EncodedImage
from ovbench.models.sam.refinement import redrawn

_CONFIG = "released code, evaluation/2d/configs"
_CODE = "released code, radseg/radseg.py"
WINDOWS_AT_A_TIME = 16
"""Through RADIO: of 336 pixels, with attention weights in float32, 0.4 GiB in ViT-B."""


@dataclass(frozen=True)
class RADSegSettings:
    """Settings of :class:`RADSeg`."""

    weights: str = setting(
        "c_radio_v3_b",
        f"{_CONFIG}/base_config.py, model_version",
        "the RADIO: of the catalogue, or random",
        picks="radio/{weights}",
    )
    architecture: str = setting(
        "ViT-gopt-16-SigLIP2-384",
        "NVlabs/RADIO, radio/siglip2_adaptor.py: siglip2-g-384",
        "open_clip's name of the SigLIP 2 that reads texts",
    )
    pretrained: str = setting(
        "webli",
        "NVlabs/RADIO, radio/siglip2_adaptor.py, by open_clip's name",
        "open_clip's tag of its weights, tag@revision, or random",
        picks="clip/{architecture} {pretrained}",
    )
    prompts: TemplateSet = setting(
        "imagenet80",
        "released code, radseg/prompt_templates.py",
        "set of prompt templates whose embeddings are averaged",
    )
    short_side: int = setting(
        576,
        f"{_CONFIG}/mid_res_configs: 576 on ADE20K and Context; others 336 to 688",
        "shorter side of the input in pixels, resized as OpenCV does",
        least=1,
        most=SIDE,
    )
    max_long_side: int = setting(
        2048, f"{_CONFIG}/mid_res_configs", "limit of its longer side", least=1, most=SIDE
    )
    window: int = setting(
        336,
        f"{_CONFIG}/base_config.py, slide_crop",
        "side of windows in pixels, whole patches; 0 the whole image",
        least=0,
        most=SIDE,
    )
    window_stride: int = setting(
        224,
        f"{_CONFIG}/base_config.py, slide_stride",
        "pixels between windows, whole patches; inputs are enlarged to multiples of it",
        least=1,
        most=SIDE,
    )
    attention_scale: float = setting(
        10.0, f"{_CODE}, scra_scaling", "on cosines of what attention found (SCRA); 0 leaves "
        "RADIO's own attention, which is our choice", least=0, most=FACTOR,
    )  # fmt: skip
    aggregation_scale: float = setting(
        10.0, f"{_CODE}, scga_scaling", "on cosines above their mean, over the whole picture "
        "(SCGA); 0 leaves features as they are, which is our choice", least=0, most=FACTOR,
    )  # fmt: skip
    logit_scale: float = setting(
        100.0, f"{_CODE}, compute_cos_sim", "factor on cosines before the softmax over queries",
        least=1e-6, most=FACTOR,
    )  # fmt: skip
    denoising_threshold: float = setting(
        0.5,
        f"{_CONFIG}/base_config.py, prompt_denoising_thresh",
        "a query that is nowhere as probable is left out; 0 leaves none out",
        least=0,
        most=1,
    )
    sam_refinement: bool = setting(
        False, "released code, evaluation/2d/eval.py, sam_refine: RADSeg+",
        "let SAM's decoder draw the regions found, on RADIO's features",
    )  # fmt: skip
    sam: str = setting(
        "sam_vit_h", f"{_CODE}, sam_ckpt", "the SAM whose neck and decoder are taken",
        picks="sam/{sam}",
    )  # fmt: skip
    coarse_threshold: float = setting(
        0.1, f"{_CODE}, coarse_thresh; configs/datasets: 0.05 to 0.2",
        "probability below which a place belongs to no region that SAM is asked for",
        least=0, most=1,
    )  # fmt: skip
    region_area: int = setting(
        225, f"{_CODE}, minimal_area", "smallest region, in pixels at half size", least=1,
        most=MANY * MANY,
    )  # fmt: skip
    mask_weight: float = setting(
        0.005, f"{_CODE}, sam_mask_coff", "factor on probabilities as SAM's mask prompt", least=0,
        most=FACTOR,
    )  # fmt: skip
    predicted_iou: float = setting(
        0.9, f"{_CODE}, sam_iou_thresh", "predicted IoU that SAM's masks must pass", least=0
    )

    def __post_init__(self) -> None:
        if 0 < self.window < self.window_stride:
            raise ValueError("window must be 0 or at least window_stride")


class RADSeg:
    """Probabilities of texts at RADIO's patches, made alike where RADIO finds places alike."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="RADSeg: RADIO's patches in SigLIP 2's space, gathered from like places",
        kind="training-free",
        paper="Alama et al., arXiv",
        year=2025,
        backbones=("RADIO", "SigLIP 2"),
        weights=("radio/c_radio_v3_b", "clip/ViT-gopt-16-SigLIP2-384 webli"),
        code_licence="mit",
    )
    Settings = RADSegSettings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "large": {"weights": "c_radio_v3_l"},
        "plus": {"sam_refinement": True},
        # low_res_configs and high_res_configs, but for Cityscapes and COCO-Stuff
        "low": {"short_side": 336, "window": 224, "window_stride": 112},
        "high": {"short_side": 672, "max_long_side": 2016},
    }
    published: ClassVar[Sequence[Published]] = eight(
        names="proxyclip",
        source="released code, evaluation/2d/configs/mid_res_configs and datasets",
        voc21=None,
        context60=None,
        cocoobject=None,
        voc20={"short_side": 336, "window_stride": 112, "coarse_threshold": 0.2},
        context59={"short_side": 576, "max_long_side": 4096, "coarse_threshold": 0.15},
        cocostuff={"short_side": 448, "coarse_threshold": 0.05},
        ade20k={"short_side": 576, "coarse_threshold": 0.05},
        cityscapes={"short_side": 688, "coarse_threshold": 0.1},
    )

    def __init__(self, settings: RADSegSettings, runtime: Runtime) -> None:
        self.settings = settings
        self._clip = load_clip(settings.architecture, settings.pretrained, runtime)
        self._clip.forget_images()
        joint = self._clip.joint_width
        self.radio = load_radio(settings.weights, joint, runtime)
        for name in ("window", "window_stride"):
            if getattr(settings, name) % self.radio.patch_size:
                raise UsageError(
                    f"{name}={getattr(settings, name)} must be a multiple of RADIO's patches of "
                    f"{self.radio.patch_size} pixels: windows are spliced patch by patch"
                )
        if self.radio.width_of(TEXT) != joint:
            raise UsageError(
                f"architecture={settings.architecture}: its texts have {joint} numbers, and the "
                f"head of {settings.weights} has {self.radio.width_of(TEXT)}; choose the SigLIP 2 "
                "that taught it"
            )
        self.checkpoints = (*self.radio.checkpoints, self._clip.checkpoint)
        if settings.sam_refinement:
            self._sam = load_sam(settings.sam, runtime)
            self.checkpoints += self._sam.checkpoints

    def prepare(self, vocabulary: Vocabulary) -> None:
        """Embed every query of the vocabulary, those of background among them."""
        self._vocabulary = vocabulary
        self._labels = vocabulary.query_labels
        self.text = self._clip.embed_queries(
            vocabulary.query_texts, templates(self.settings.prompts)
        )

    @torch.inference_mode()
    def segment(
        self, images: Sequence[Image], candidates: Sequence[Collection[int]] | None = None
    ) -> list[LabelMap]:
        """See :class:`~ovbench.Segmenter`; images one after the other, by all of their windows."""
        vocabulary, answers = self._vocabulary, []
        for image, chosen in pairs(images, candidates):
            allowed = np.isin(self._labels, allowed_labels(vocabulary, chosen))
            names = self._labels[allowed]
            with stage("preprocess"):
                pixels = self._input(image)
            with stage("encode"):
                features = self._features(pixels)
            with stage("match"):
                texts = self.text[torch.from_numpy(allowed).to(self.text.device)]
                maps = self._probabilities(features, texts)
                scores = self._denoised(Scores.enlarged(maps, (image.shape[0], image.shape[1])))
            with stage("upsample"):
                labels = decide(scores, names, dtype=vocabulary.label_dtype)
            if self.settings.sam_refinement and len(names):
                with stage("refine"):
                    labels = self._redrawn(pixels, labels, scores, names)
            answers.append(labels)
        return answers

    def _input(self, image: Image) -> Tensor:
        """``(3, H', W')``, normalised; bytes and no antialiasing, as OpenCV has it."""
        settings, radio = self.settings, self.radio
        size = kept_ratio(
            (image.shape[0], image.shape[1]),
            short_side=settings.short_side,
            max_long_side=settings.max_long_side,
        )
        return input_tensor(
            image,
            size,
            mean=radio.mean,
            std=radio.std,
            mode="bilinear",
            device=radio.device,
            antialias=False,
            whole_numbers=True,
        )

    def _features(self, pixels: Tensor) -> Tensor:
        """RADIO's features of the whole picture, ``(1, d, h, w)``, gathered from like places."""
        settings, patch = self.settings, self.radio.patch_size
        multiple = settings.window_stride if settings.window else patch
        pixels = up_to_multiples(pixels, multiple, settings.window or patch)
        size = (pixels.shape[1], pixels.shape[2])
        layout = Windows.over(size, settings.window, settings.window_stride)
        parts = torch.split(layout.cut(pixels), WINDOWS_AT_A_TIME)
        found = layout.splice(torch.cat([self._read(part) for part in parts]), patch)
        if not settings.aggregation_scale:
            return found
        return self_correlating_aggregation(found, settings.aggregation_scale)

    def _read(self, windows: Tensor) -> Tensor:
        scale = self.settings.attention_scale
        mixing = partial(self_correlating_attention, scale=scale) if scale else None
        return self.radio.features(windows, mixing)

    def _probabilities(self, features: Tensor, texts: Tensor) -> Tensor:
        """``(Q, h, w)``, at patches: they are enlarged as they are."""
        unit = normalize(self.radio.mapped(features, TEXT)[0], dim=0)
        cosines = torch.einsum("qd,dhw->qhw", texts, unit)
        return (cosines * self.settings.logit_scale).softmax(dim=0)

    def _denoised(self, scores: Scores) -> Scores:
        """With nothing of the queries that no pixel is sure of."""
        best = scores.maps.new_zeros(len(scores.maps))
        for first, _, values in scores.strips():
            part = slice(first, first + values.shape[1])
            best[part] = torch.maximum(best[part], values.amax(dim=(0, 2)))
        unsure = best < self.settings.denoising_threshold
        return scores._replace(maps=scores.maps.masked_fill(unsure[:, None, None], 0))

    def _redrawn(
        self, pixels: Tensor, labels: LabelMap, scores: Scores, names: npt.NDArray[np.intp]
    ) -> LabelMap:
        settings = self.settings

        def probability(label: int) -> Tensor:
            return scores.of(torch.from_numpy(names == label)).whole().amax(dim=0)

        return redrawn(
            self._sam,
            self._for_sam(pixels, scores.size),
            labels,
            names.tolist(),
            probability,
            above=settings.coarse_threshold,
            least_area=settings.region_area,
            weight=settings.mask_weight,
            predicted_iou=settings.predicted_iou,
        )

    def _for_sam(self, pixels: Tensor, size: tuple[int, int]) -> EncodedImage:
        """What SAM's neck makes of RADIO's features in its space, beside zeros where no image is.

        As released: the longer side fills SAM's input, the other has as many whole patches as fit.
        """
        patch, (height, width) = self.radio.patch_size, pixels.shape[1:]
        grid = self._sam.image_size // patch
        rows, columns = (max(1, side * grid // max(height, width)) for side in (height, width))
        filled = rows * patch, columns * patch
        features = self._read(interpolate(pixels[None], filled, mode="bilinear"))
        mapped = pad(self.radio.mapped(features, SAM), (0, grid - columns, 0, grid - rows))
        return EncodedImage(self._sam.necked(mapped), size, filled)
