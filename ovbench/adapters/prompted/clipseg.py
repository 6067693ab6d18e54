"""CLIPSeg, asked for every class by its name; the most probable class wins each pixel.

Lüddecke and Ecker, "Image Segmentation Using Text and Image Prompts", CVPR 2022; released code:
github.com/timojl/clipseg, whose rule for many classes is CLIPSegMultiLabel in models/clipseg.py.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from ovbench.adapters.parts.candidates import allowed_labels, pairs
from ovbench.adapters.parts.templates import templates
from ovbench.errors import UsageError
from ovbench.harness.contract.arrays import Image, LabelMap
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import SIDE, setting
from ovbench.harness.contract.stages import stage
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.models.pixels.inputs import IMAGENET_MEAN, IMAGENET_STD, input_tensor
from ovbench.models.pixels.labels import label_map
from ovbench.models.prompted.clipseg import load_clipseg

_MANY = "released code, models/clipseg.py, CLIPSegMultiLabel"


@dataclass(frozen=True)
class CLIPSegSettings:
    """Settings of :class:`CLIPSegMethod`."""

    weights: str = setting(
        "clipseg_rd64_refined",
        "released code, README: the weights for fine-grained predictions",
        "of the catalogue, a hub id owner/name[@revision], or random",
        picks="clipseg/{weights}",
    )
    prompt: Literal["bare", "phrase", "single"] = setting(
        "bare",
        f"{_MANY}: the class as it is; training had it among nine templates (prompt: shuffle+)",
        "the class alone, behind 'a photo of a', or this with a full stop",
    )
    side: int = setting(
        352,
        "released code, experiments/*.yaml, image_size",
        "the picture is squashed to a square of this side in pixels, a multiple of the patch",
        most=SIDE,
    )
    background_rule: Literal["text", "threshold"] = setting(
        "text",
        f"{_MANY}; threshold: PhraseCut's measure, where one text stands alone",
        "background is a class by its own texts, or what no class is probable enough for",
    )
    background_factor: float = setting(
        3.0, f"{_MANY}, fac", "with background_rule=text, of background's probability"
    )
    background_below: float = setting(
        0.3,
        "experiments/phrasecut.yaml, pc_miou_0.3",
        "with background_rule=threshold, a pixel whose best class is no more probable",
        least=0,
        most=1,
    )
    texts_at_a_time: int = setting(
        32,
        "our choice: the answers are the same; the decoder takes 4 MB for each",
        "texts that go through the decoder together",
        most=1024,
    )

    def __post_init__(self) -> None:
        for name in ("side", "texts_at_a_time"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be positive")
        if self.background_factor < 0:
            raise ValueError("background_factor must not be negative")


class CLIPSegMethod:
    """One text per query; the picture is encoded once."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="CLIPSeg: a decoder on CLIP that learned from phrases to mark what they say",
        kind="mask-supervised",
        paper="Lüddecke and Ecker, CVPR",
        year=2022,
        backbones=("CLIP",),
        weights=("clipseg/clipseg_rd64_refined",),
        code_licence="mit",
    )
    Settings = CLIPSegSettings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        # Ours: where background has no text that says what it is.
        "threshold": {"background_rule": "threshold"},
    }

    def __init__(self, settings: CLIPSegSettings, runtime: Runtime) -> None:
        self.settings = settings
        self._model = load_clipseg(settings.weights, runtime)
        if settings.side % self._model.patch:
            raise UsageError(f"side={settings.side} must be a multiple of {self._model.patch}")
        self.checkpoints = self._model.checkpoints

    def prepare(self, vocabulary: Vocabulary) -> None:
        """Read every query once."""
        self._vocabulary = vocabulary
        self._labels = vocabulary.query_labels
        (template,) = templates(self.settings.prompt)
        self._texts = self._model.read([template.format(text) for text in vocabulary.query_texts])

    @torch.inference_mode()
    def segment(
        self, images: Sequence[Image], candidates: Sequence[Collection[int]] | None = None
    ) -> list[LabelMap]:
        """See :class:`~ovbench.Segmenter`; images are seen one by one."""
        return [self._answer(image, chosen) for image, chosen in pairs(images, candidates)]

    def _answer(self, image: Image, candidates: Collection[int] | None) -> LabelMap:
        vocabulary = self._vocabulary
        asked = np.isin(self._labels, allowed_labels(vocabulary, candidates))
        behind = vocabulary.background is not None
        constant = behind and self.settings.background_rule == "threshold"
        if constant:
            asked &= self._labels > 0
        labels = self._labels[asked]
        with stage("encode"):
            picture = self._model.see(self._input(image))
        with stage("decode"):
            maps = self._probable(picture, self._texts[torch.from_numpy(asked)])
        if constant:  # of equal scores the first one counts
            level = torch.full_like(maps[:1], self.settings.background_below)
            maps, labels = torch.cat([level, maps]), np.append(0, labels)
        elif behind:
            maps[torch.from_numpy(labels == 0)] *= self.settings.background_factor
        with stage("upsample"):
            size = (image.shape[0], image.shape[1])
            return label_map(maps, labels, size, dtype=vocabulary.label_dtype)

    def _probable(self, picture: list[Tensor], texts: Tensor) -> Tensor:
        """Of every text at every place of the square, ``(n, S, S)``."""
        side = self.settings.side
        maps = torch.empty(len(texts), side, side, device=self._model.device)
        for first in range(0, len(texts), self.settings.texts_at_a_time):
            some = slice(first, first + self.settings.texts_at_a_time)
            maps[some] = self._model.find(picture, texts[some]).sigmoid_()
        return maps

    def _input(self, image: Image) -> Tensor:
        """The picture squashed to a square, ``(1, 3, S, S)``."""
        return input_tensor(
            image,
            (self.settings.side, self.settings.side),
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            mode="bilinear",
            device=self._model.device,
            whole_numbers=True,
        )[None]
