"""MaskCLIP: the classes of CLIP's values at every patch, without any training.

Zhou, Loy and Dai, "Extract Free Dense Labels from CLIP", ECCV 2022; released code:
github.com/chongzhou96/MaskCLIP.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from ovbench.adapters.parts.candidates import allowed_labels
from ovbench.adapters.parts.sliding import alike
from ovbench.adapters.parts.templates import templates
from ovbench.errors import UsageError
from ovbench.harness.contract.arrays import Image, LabelMap
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import SIDE, require_shares, setting
from ovbench.harness.contract.stages import stage
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.models.clip.model import load_clip
from ovbench.models.pixels.inputs import IMAGENET_MEAN, IMAGENET_STD, fit_size, input_tensor
from ovbench.models.pixels.labels import label_map
from ovbench.models.pixels.windows import slide

RELATIVE_SHORT_SIDE = 512 / 224


@dataclass(frozen=True)
class MaskCLIPSettings:
    """Settings of :class:`MaskCLIP`."""

    architecture: str = setting(
        "ViT-B-16", "paper and released code, configs/maskclip", "open_clip's name of the CLIP"
    )
    pretrained: str = setting(
        "openai",
        "paper and released code, configs/maskclip",
        "open_clip's tag of its weights, tag@revision, or random",
        picks="clip/{architecture} {pretrained}",
    )
    residual: bool = setting(
        False,
        "paper: value embedding and last linear layer; the released code "
        "(mmseg/models/backbones/vit.py) keeps the residual and the MLP",
        "keep the residual and the MLP of the last block",
    )
    normalisation: Literal["clip", "imagenet"] = setting(
        "clip",
        "what CLIP was trained with; the released code "
        "(configs/_base_/datasets/pascal_voc12_aug_20.py) uses ImageNet's",
        "whose pixel mean and deviation to use",
    )
    prompts: Literal["maskclip85", "imagenet80", "single"] = setting(
        "maskclip85",
        "released code, tools/maskclip_utils/prompt_engineering.py",
        "set of prompt templates whose embeddings are averaged",
    )
    short_side: int | None = setting(
        None,
        "released code, configs/maskclip: 512 (Context: 520) for a CLIP trained on 224 pixels",
        "shorter side of the input in pixels; none is 512/224 of the CLIP's training size",
        most=SIDE,
    )
    max_long_side: int = setting(
        2048, "released code, img_scale=(2048, 512)", "limit of the input's longer side", most=SIDE
    )
    window: int = setting(
        0,
        "released code, test_cfg mode='whole'",
        "side of sliding windows; 0 is the whole image",
        most=SIDE,
    )
    window_stride: int = setting(
        0, "released code, test_cfg mode='whole'", "pixels between sliding windows", most=SIDE
    )
    prompt_denoising: float = setting(
        0.0,
        "paper, off in its plain rows; released code, pd_thresh=0.5",
        "leave out labels whose probability stays below this at every place",
        least=0,
        most=1,
    )
    key_smoothing: float = setting(
        0.0,
        "paper, off in its plain rows; released code, ks_thresh=1.0",
        "smooth places whose best probability is below this by key similarity",
        least=0,
        most=1,
    )
    logit_scale: float = setting(
        100.0,
        "released code, mask_clip_head.py; CLIP's learned scale, at its limit of 100",
        "factor on cosines before a softmax",
    )
    background: Literal["queries", "threshold", "both"] = setting(
        "queries",
        "our choice: the paper reports no background",
        "how background wins: by its own queries, by a low probability of all others, or both",
    )
    background_threshold: float = setting(
        0.5,
        "our choice: no class is more likely than all others together",
        "probability below which a pixel is background",
    )

    def __post_init__(self) -> None:
        if self.window < 0 or (self.window and self.window_stride < 1):
            raise ValueError("window needs a positive window and window_stride")
        if self.max_long_side < 1 or (self.short_side is not None and self.short_side < 1):
            raise ValueError("short_side and max_long_side must be positive")
        require_shares(self, "background_threshold")
        if self.key_smoothing and self.background != "queries":
            raise ValueError(
                "key_smoothing yields no probabilities; it goes with background=queries only"
            )


class MaskCLIP:
    """Cosines between CLIP's dense values and text embeddings; the largest wins."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="MaskCLIP: CLIP's value path for every patch",
        kind="training-free",
        paper="Zhou et al., ECCV",
        year=2022,
        backbones=("CLIP",),
        weights=("clip/ViT-B-16 openai",),
        code_licence="apache-2.0",
    )
    Settings = MaskCLIPSettings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"short_side": 512},
        "released_code": {"short_side": 512, "residual": True, "normalisation": "imagenet"},
        "plus_ks_pd": {"key_smoothing": 1.0, "prompt_denoising": 0.5},
        # Cha, Mun and Roh, "Learning to Generate Text-grounded Mask" (CVPR 2023), which
        # evaluates every method, MaskCLIP among them, in this way.
        "tcl": {"short_side": 448, "window": 448, "window_stride": 224},
    }

    def __init__(self, settings: MaskCLIPSettings, runtime: Runtime) -> None:
        self._clip = load_clip(settings.architecture, settings.pretrained, runtime)
        own = round(self._clip.image_size * RELATIVE_SHORT_SIDE)
        self._short_side = settings.short_side or own
        self.settings = replace(settings, short_side=self._short_side)
        self.checkpoints = (self._clip.checkpoint,)
        stride = self._clip.stride
        if settings.window % stride or settings.window_stride % stride:
            raise UsageError(
                f"window={settings.window} and window_stride={settings.window_stride} must be "
                f"multiples of {stride}, the stride of {self._clip.checkpoint.name}"
            )

    def prepare(self, vocabulary: Vocabulary) -> None:
        """Embed every query of the vocabulary."""
        pairs = vocabulary.queries
        if vocabulary.background and self.settings.background == "threshold":
            pairs = pairs[len(vocabulary.background.queries) :]
        self._vocabulary = vocabulary
        self._labels = np.array([label for _, label in pairs], dtype=np.intp)
        self._text = self._clip.embed_queries(
            [text for text, _ in pairs], templates(self.settings.prompts)
        )

    @torch.inference_mode()
    def segment(
        self, images: Sequence[Image], candidates: Sequence[Collection[int]] | None = None
    ) -> list[LabelMap]:
        """See :class:`~ovbench.Segmenter`.

        Images of equal input size are encoded together. Sums over another batch size round
        differently (1e-6 of a cosine in float32), so that a pixel between two classes may
        change sides.
        """
        with stage("preprocess"):
            inputs = [self._input(image) for image in images]
        maps: dict[int, LabelMap] = {}
        for members in alike([one.shape for one in inputs]):
            with stage("encode"):
                features = self._encode(torch.stack([inputs[i] for i in members]))
            for i, feature in zip(members, features, strict=True):
                chosen = None if candidates is None else candidates[i]
                maps[i] = self._answer(feature, images[i], chosen)
        return [maps[i] for i in range(len(images))]

    def _input(self, image: Image) -> Tensor:
        settings, clip = self.settings, self._clip
        height, width = image.shape[:2]
        size = fit_size(
            (height, width),
            short_side=self._short_side,
            max_long_side=max(settings.max_long_side, clip.stride),
            multiple=clip.stride,
        )
        own = settings.normalisation == "clip"
        return input_tensor(
            image,
            size,
            mean=clip.mean if own else IMAGENET_MEAN,
            std=clip.std if own else IMAGENET_STD,
            mode="bilinear",
            device=clip.device,
        )

    def _encode(self, images: Tensor) -> Tensor:
        """``(B, d, h, w)`` unit values, followed by unit keys where they are needed."""
        settings = self.settings
        if not settings.window:
            return self._unit_features(images)
        return slide(
            images,
            self._unit_features,
            window=settings.window,
            stride=settings.window_stride,
            cell=self._clip.stride,
        )

    def _unit_features(self, images: Tensor) -> Tensor:
        values, keys = self._clip.dense_features(images, residual=self.settings.residual)
        values = functional.normalize(values, dim=1)
        if not self.settings.key_smoothing:
            return values
        if keys is None:
            raise UsageError(f"key_smoothing: {self.settings.architecture} has no keys")
        return torch.cat([values, functional.normalize(keys, dim=1)], dim=1)

    def _answer(
        self, feature: Tensor, image: Image, candidates: Collection[int] | None
    ) -> LabelMap:
        settings, vocabulary = self.settings, self._vocabulary
        with stage("match"):
            allowed = np.isin(self._labels, allowed_labels(vocabulary, candidates))
            scores, labels = self._match(feature, np.flatnonzero(allowed))
        height, width, _ = image.shape
        uses_threshold = vocabulary.background and settings.background != "queries"
        with stage("upsample"):
            return label_map(
                scores,
                labels,
                (height, width),
                dtype=vocabulary.label_dtype,
                softmax_scale=settings.logit_scale,
                background_below=settings.background_threshold if uses_threshold else None,
            )

    def _match(
        self, feature: Tensor, queries: npt.NDArray[np.intp]
    ) -> tuple[Tensor, npt.NDArray[np.intp]]:
        """Scores ``(Q, h, w)`` of the queries that stay in the race, and their labels."""
        settings, labels, text = self.settings, self._labels[queries], self._text[queries]
        scores = torch.einsum("qd,dhw->qhw", text, feature[: text.shape[1]])
        if not len(labels):  # background by threshold, and no class among the candidates
            return scores, labels
        if settings.prompt_denoising:
            kept = confident_queries(
                scores * settings.logit_scale, labels, settings.prompt_denoising
            )
            scores, labels = scores[torch.as_tensor(kept, device=scores.device)], labels[kept]
        if settings.key_smoothing:
            keys = feature[text.shape[1] :]
            scores = smooth_by_keys(scores * settings.logit_scale, keys, settings.key_smoothing)
        return scores, labels


def confident_queries(
    logits: Tensor, labels: npt.NDArray[np.intp], threshold: float
) -> npt.NDArray[np.bool_]:
    """Prompt denoising: the queries of labels that some place is sure of.

    The probability of a label is the sum over its queries, as if they were one class. The
    most probable label always stays, so that there is an answer.

    Args:
        logits: ``(Q, h, w)``; the softmax is over Q.
        labels: ``(Q,)``.

    Returns:
        ``(Q,)``, True for queries to keep.
    """
    _, group = np.unique(labels, return_inverse=True)
    member = functional.one_hot(torch.as_tensor(group, device=logits.device)).float()
    best = (member.mT @ logits.softmax(dim=0).flatten(1)).amax(dim=1)
    kept: npt.NDArray[np.bool_] = (best >= best.max().clamp(max=threshold)).cpu().numpy()
    return kept[group]


def smooth_by_keys(logits: Tensor, keys: Tensor, threshold: float) -> Tensor:
    """Key smoothing: uncertain places take the probabilities of places with similar keys.

    The released code normalises keys along the places; the paper's cosine, along the
    channels, is what is meant and done here.

    Args:
        logits: ``(Q, h, w)``; the softmax is over Q.
        keys: ``(k, h, w)``, of unit length.
        threshold: places whose best probability reaches it keep their own.

    Returns:
        ``(Q, h, w)``: probabilities where a place kept its own, else their sum over all
        places weighted by cosine.
    """
    probability, unrolled = logits.softmax(dim=0).flatten(1), keys.flatten(1)
    smoothed = (probability @ unrolled.mT) @ unrolled
    uncertain = probability.amax(dim=0) < threshold
    return torch.where(uncertain, smoothed, probability).reshape(logits.shape)
