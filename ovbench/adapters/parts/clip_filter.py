"""Which classes does an image hold? A CLIP compares the whole image with every class.

PnP-OVSS (Luo et al., CVPR 2024) in its rewritten code segments among the classes that GPT-4o
finds in an image with a probability above 70 %. An open CLIP stands in for GPT-4o here. Its
softmax says which class fits best, not how probable each one is by itself, so classes are
judged against one another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ovbench.adapters.parts.templates import TemplateSet, templates
from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.settings import setting
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.models.clip.model import load_clip
from ovbench.models.pixels.inputs import squashed


@dataclass(frozen=True)
class CLIPFilterSettings:
    """Settings of :class:`CLIPFilter`."""

    architecture: str = setting(
        "ViT-L-14-336",
        "our choice: the CLIP of PnP-OVSS's reward, paper, section 3.4",
        "open_clip's name of the CLIP",
    )
    pretrained: str = setting(
        "openai",
        "our choice: the CLIP of PnP-OVSS's reward, paper, section 3.4",
        "open_clip's tag of its weights, tag@revision, or random",
    )
    prompts: TemplateSet = setting(
        "single",
        "our choice: ensembles chose no better on rendered scenes",
        "set of prompt templates whose embeddings are averaged",
    )
    rule: Literal["ratio", "average"] = setting(
        "ratio",
        "our choice, by F1 on rendered training scenes; average: OVDiff (Karazija et al., "
        "ECCV 2024), released code",
        "keep classes not much less probable than the best, or more similar than the average",
    )
    threshold: float = setting(
        0.003,
        "our choice, by F1 on rendered training scenes",
        "with rule=ratio, least probability relative to the most probable class",
    )
    most: int = setting(
        10, "OVDiff's released code, topk=10", "keep no more than this many classes", most=65_535
    )

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1 or self.most < 1:
            raise ValueError("threshold must be above 0 and at most 1, most at least 1")


class CLIPFilter:
    """Keeps the classes that a CLIP finds in the image as a whole."""

    Settings = CLIPFilterSettings

    def __init__(self, settings: CLIPFilterSettings, runtime: Runtime) -> None:
        self.settings = settings
        self._clip = load_clip(settings.architecture, settings.pretrained, runtime)
        self.checkpoints = (self._clip.checkpoint,)

    def prepare(self, vocabulary: Vocabulary) -> None:
        """Embed every query of the classes; what describes background says nothing of them."""
        queries = [
            (text, i) for i, query in enumerate(vocabulary.classes) for text in query.queries
        ]
        texts = [text for text, _ in queries]
        self._text = self._clip.embed_queries(texts, templates(self.settings.prompts))
        self._owner = torch.tensor([owner for _, owner in queries], device=self._clip.device)
        self._vocabulary = vocabulary

    @torch.inference_mode()
    def select(self, images: Sequence[Image]) -> list[tuple[int, ...]]:
        """See :class:`~ovbench.ClassFilter`."""
        embedded = self._clip.encode_image(squashed(self._clip, images, self._clip.image_size))
        return [self._choose(cosines) for cosines in self._of_classes(embedded @ self._text.mT)]

    def _of_classes(self, cosines: Tensor) -> Tensor:
        """``(B, K)``: a class is as similar as the nearest of its names, ``(B, Q)``."""
        owner = self._owner.expand_as(cosines)
        classes = cosines.new_zeros(len(cosines), len(self._vocabulary.classes))
        return classes.scatter_reduce(1, owner, cosines, "amax", include_self=False).cpu()

    def _choose(self, cosines: Tensor) -> tuple[int, ...]:
        """Labels of the classes kept, ascending; the best is always one."""
        if self.settings.rule == "ratio":
            kept = above_ratio(self._clip.logit_scale * cosines, self.settings.threshold)
        else:
            kept = above_average(cosines)
        best = torch.argsort(cosines, descending=True, stable=True)[: self.settings.most]
        chosen = [int(i) for i in best if kept[i]]
        return tuple(self._vocabulary.offset + i for i in sorted(chosen))


def above_ratio(logits: Tensor, threshold: float) -> Tensor:
    """Classes whose softmax probability is at least ``threshold`` of the best one's.

    Args:
        logits: ``(K,)``.

    Returns:
        ``(K,)`` bool.
    """
    return logits >= logits.max() + math.log(threshold)


def above_average(cosines: Tensor) -> Tensor:
    """OVDiff's pre-filter: a softmax of the bare cosines gives the class at least 1 / K.

    Args:
        cosines: ``(K,)``.

    Returns:
        ``(K,)`` bool; the best class is always kept.
    """
    probability = cosines.softmax(dim=0)
    return (probability >= 1 / len(cosines)) | (probability == probability.max())
