"""CorrCLIP: in CLIP's last block, patches look only at those of their own region.

Zhang, Liu and Tang, "CorrCLIP: Reconstructing Patch Correlations in CLIP for Open-Vocabulary
Semantic Segmentation", ICCV 2025; released code: github.com/zdk258/CorrCLIP, CorrCLIPv1. With a
bank of pictures without labels, its extension CorrCLIPv2.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from ovbench.adapters.parts.candidates import pairs
from ovbench.adapters.parts.dense_clip import WINDOWS_AT_A_TIME, DenseCLIP
from ovbench.adapters.parts.published import eight
from ovbench.adapters.parts.templates import templates
from ovbench.adapters.parts.vfm import load_vfm
from ovbench.adapters.regional.corrclip.bank import Bank, Maker, pictures_of, require_regions
from ovbench.adapters.regional.corrclip.branches import Branches, with_regions
from ovbench.adapters.regional.corrclip.settings import CorrCLIPSettings
from ovbench.adapters.regional.corrclip.whole import (
    PLAIN,
    in_windows,
    region_means,
    whole_features,
)
from ovbench.adapters.regional.settings import generator_of
from ovbench.errors import UsageError
from ovbench.harness.contract.arrays import Image, LabelMap
from ovbench.harness.contract.card import MethodCard
from ovbench.harness.contract.published import Published
from ovbench.harness.contract.runtime import Runtime
from ovbench.harness.contract.stages import stage
from ovbench.harness.contract.vocabulary import Vocabulary
from ovbench.models.clip.model import CLIP, load_clip
from ovbench.models.pixels.scores import Scores
from ovbench.models.pixels.windows import Windows
from ovbench.models.regions.maps import majority_vote
from ovbench.models.regions.store import Regions


class CorrCLIP(DenseCLIP):
    """Three branches are added up: the last block's values, earlier ones', and regions' tokens."""

    card: ClassVar[MethodCard] = MethodCard(
        summary="CorrCLIP: attention within regions, by masks and DINO; v2: and a bank of pictures",
        kind="training-free",
        paper="Zhang et al., ICCV",
        year=2025,
        backbones=("CLIP", "DINO", "SAM 2"),
        weights=(
            "clip/ViT-B-16-quickgelu metaclip_fullcc",
            "dino/dino_vitb8",
            "sam/sam2.1_hiera_large",
        ),
        code_licence="none stated",
    )
    Settings = CorrCLIPSettings
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "openai": {"architecture": "ViT-B-16", "pretrained": "openai"},
        "mask2former": {"regions": "panoptic", "on_top": "later"},
        "eomt": {
            "regions": "panoptic",
            "panoptic": "eomt_large_coco_panoptic",
            "segment_score": 0.8,
            "join_stuff": True,
            "on_top": "later",
        },
        "v2": {
            "vfm": "c_radio_v3_l",
            "vfm_reading": "tokens",
            "vfm_view": "image",
            "merge": False,
            "support": "bank",
        },
    }
    published: ClassVar[Sequence[Published]] = eight(
        names="corrclip",
        source="released code, CorrCLIPv1, configs/",
        voc21={"background_threshold": 0.2},
        context60={"background_threshold": 0.15},
        cocoobject={"background_threshold": 0.25},
        voc20={},
        context59={},
        cocostuff={},
        ade20k={"short_side": 448},
        cityscapes={"short_side": 448, "window": 224},
    )
    SIZES: ClassVar[Mapping[str, float]] = {**DenseCLIP.SIZES, "window": 1.5}
    settings: CorrCLIPSettings

    def __init__(self, settings: CorrCLIPSettings, runtime: Runtime) -> None:
        """Load the networks; with a bank, let them see its pictures or recall what they saw.

        Raises:
            UsageError: weights or pictures that cannot be had, or that do not go together.
        """
        if settings.support == "bank" and settings.bank is None:
            raise UsageError("support=bank needs --set bank=FOLDER, of pictures without labels")
        super().__init__(settings, runtime)
        clip = self.clip
        self.branches = Branches(clip, settings)
        view = PLAIN if settings.vfm_view == "image" else {"mean": clip.mean, "std": clip.std}
        self.vfm = load_vfm(settings.vfm, runtime, settings.vfm_reading, **view)
        self.regions = Regions(generator_of(settings), runtime)
        self.checkpoints += (*self.vfm.checkpoints, *self.regions.checkpoints)
        self._second: CLIP | None = None
        if settings.support == "bank":
            self._fill(str(settings.bank), runtime)

    def _fill(self, name: str, runtime: Runtime) -> None:
        """Make the bank, or take it from the cache.

        All weights and pictures are looked for before any are used, which may take days.
        """
        settings, clip = self.settings, self.clip
        archive, record = pictures_of(name)
        looking = load_vfm(settings.value_vfm, runtime, "query_key", mean=clip.mean, std=clip.std)
        readers = [self.branches]
        if settings.second_share:
            second = load_clip(settings.second_architecture, settings.second_pretrained, runtime)
            second.refuse_without_blocks()
            readers.append(Branches(second, settings))
            self._second = second
        maker = Maker(archive, self.regions, settings.on_top, runtime)
        keys = maker.keys(self.vfm, settings.vfm_reading)
        require_regions(keys, name)
        values = tuple(maker.values(reader, looking) for reader in readers)
        self._bank = Bank(keys.to(clip.device), values)
        if self._second is not None:
            self._second.forget_images()
        used = (record, *looking.checkpoints, *(reader.clip.checkpoint for reader in readers))
        self.checkpoints = tuple(dict.fromkeys((*self.checkpoints, *used)))

    def prepare(self, vocabulary: Vocabulary) -> None:
        """Embed every query, with a bank by both CLIPs."""
        super().prepare(vocabulary)
        self._texts = [self.text]
        if self._second is not None:
            prompts = templates(self.settings.prompts)
            self._texts.append(self._second.embed_queries(vocabulary.query_texts, prompts))

    @torch.inference_mode()
    def segment(
        self, images: Sequence[Image], candidates: Sequence[Collection[int]] | None = None
    ) -> list[LabelMap]:
        """See :class:`~ovbench.Segmenter`; windows of regions go beside those of pixels."""
        settings, masks = self.settings, self.regions.masks(images)
        with stage("preprocess"):
            maps = [one.painted(settings.on_top) for one in masks]
            inputs = [self._input(image) for image in images]
            both = [with_regions(*one) for one in zip(inputs, maps, strict=True)]
            windows = [self._windows(one) for one in inputs]
        wholes: list[Tensor] = []
        if settings.vfm_view == "image":
            with stage("encode"):
                wholes = [whole_features(self.vfm, one, self.clip.device) for one in images]
            scores = [self._over(*one) for one in zip(both, windows, wholes, strict=True)]
        else:
            scores = self._maps(both, windows)
        supports: Sequence[Tensor | None] = [None] * len(images)
        if settings.support == "bank":
            with stage("support"):
                supports = self._supports(both, wholes)
        answers = []
        for i, (image, chosen) in enumerate(pairs(images, candidates)):
            size = image.shape[0], image.shape[1]
            merged = fused(windows[i].merge(scores[i], size), supports[i], settings.support_share)
            labels = self._answer(merged, inputs[i], chosen)
            if settings.vote:
                with stage("vote"):
                    labels = majority_vote(labels, maps[i], unsegmented=int(maps[i].min()))
            answers.append(labels)
        return answers

    def features(self, windows: Tensor) -> Tensor:
        """On the other model's grid, where it sees windows.

        Args:
            windows: ``(B, 4, H, W)`` float32; the fourth channel is :func:`with_regions`'s.

        Returns:
            See :class:`~ovbench.adapters.parts.dense_clip.DenseCLIP`.
        """
        return self.branches.features(windows, self.vfm.features(windows[:, :3]))

    def _over(self, both: Tensor, windows: Windows, whole: Tensor) -> Tensor:
        """Scores of one image's windows, ``(n, Q, h, w)``, where the other model saw all of it.

        Its features come to a grid of two places along a side of each of CLIP's patches.
        """
        with stage("preprocess"):
            cut = windows.cut(both)
        height, width = (2 * (side // self.clip.stride) for side in cut.shape[2:])
        with stage("encode"):
            seen = in_windows(whole, windows, (height, width))
            parts = zip(*(torch.split(one, WINDOWS_AT_A_TIME) for one in (cut, seen)), strict=True)
            return torch.cat([self.compared(self.branches.features(*part)) for part in parts])

    def _supports(self, both: Sequence[Tensor], wholes: Sequence[Tensor]) -> list[Tensor]:
        """What the bank says at every pixel of inputs, ``(Q, H', W')`` each.

        Every region of an input is looked up, and what no mask covers as one.
        """
        settings, shown = self.settings, [one[3].long() for one in both]
        sizes = [(one.shape[0], one.shape[1]) for one in shown]
        each = [
            region_means(Scores.enlarged(whole, size), regions, unit=True)
            for whole, size, regions in zip(wholes, sizes, shown, strict=True)
        ]
        queries = torch.cat([means for _, means in each])
        values = self._bank.support(queries, settings.neighbours)
        cosines = [one @ text.mT for one, text in zip(values, self._texts, strict=True)]
        said = cosines[0]
        for other in cosines[1:]:
            said = torch.lerp(said, other, settings.second_share)
        parts = torch.split(said, [len(means) for _, means in each])
        return [
            part.mT[:, torch.searchsorted(numbers, regions)]
            for part, (numbers, _), regions in zip(parts, each, shown, strict=True)
        ]


def fused(scores: Scores, support: Tensor | None, share: float) -> Scores:
    """Scores of an image, and with this share what a bank says at every pixel of its input."""
    if support is None:
        return scores
    other = Scores.enlarged(support * share, scores.size)
    return scores._replace(maps=scores.maps * (1 - share), added=(other,))
