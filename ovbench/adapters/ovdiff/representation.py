"""A class's prototypes, from its support pictures; made once and remembered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ovbench.adapters.ovdiff.extractors import Extractor
from ovbench.adapters.ovdiff.masks import (
    Cuts,
    Mask,
    RegionMasks,
    by_attribution,
    choose,
    enlarged,
    rescaled,
)
from ovbench.adapters.ovdiff.proposals import MaskSource
from ovbench.adapters.ovdiff.prototypes import Prototypes, build, gather
from ovbench.adapters.ovdiff.settings import ExtractorName
from ovbench.adapters.ovdiff.settled import Settled
from ovbench.harness.contract.runtime import Precision
from ovbench.harness.contract.stages import stage
from ovbench.harness.files.cache import remembered
from ovbench.support import SupportSet

Region: TypeAlias = Literal["foreground", "background"]
REGIONS: tuple[Region, Region] = ("foreground", "background")

VERSION = 1
"""Raised when the code below gives other masks or prototypes."""

_TOGETHER = 4  # pictures: of Stable Diffusion's features each takes 126 MB


@dataclass(frozen=True)
class Representer:
    """Turns support sets into prototypes.

    Attributes:
        proposer: None where attribution alone decides.
        precision: in which the extractors compute.
    """

    settings: Settled
    extractors: Mapping[ExtractorName, Extractor]
    proposer: MaskSource | None
    precision: Precision

    def prototypes(self, support: SupportSet, name: ExtractorName) -> dict[Region, Prototypes]:
        """The prototypes of a class in one feature space."""
        parts = self.settings.parts if "part" in self.settings.kinds else 0
        extractor = self.extractors[name]
        key = {
            **self._key(support),
            "extractor": name,
            "reading": dict(extractor.reading),
            "weights": [asdict(record) for record in extractor.checkpoints],
            "parts": parts,
        }
        found = remembered("ovdiff-prototypes", key, lambda: self._build(support, extractor, parts))
        return {region: _unpacked(found, region) for region in REGIONS}

    def masks(self, support: SupportSet) -> RegionMasks:
        """Where the class is in its pictures, and where it is not."""
        found = remembered("ovdiff-masks", self._key(support), lambda: self._find(support))
        return RegionMasks(*(found[region] for region in REGIONS))

    def _key(self, support: SupportSet) -> dict[str, Any]:
        settings, proposer = self.settings, self.proposer
        key: dict[str, Any] = {
            "version": VERSION,
            "support": support.digest,
            "rule": settings.mask_rule,
            "attribution": settings.attribution_rule,
            "cuts": asdict(self._cuts),
            "precision": self.precision,
        }
        if proposer:
            key["proposer"] = {
                **proposer.reading,
                "weights": [asdict(record) for record in proposer.checkpoints],
            }
        return key

    @cached_property
    def _cuts(self) -> Cuts:
        settings = self.settings
        return Cuts(settings.foreground_attribution, settings.background_attribution)

    def _find(self, support: SupportSet) -> Mapping[str, Mask]:
        attribution = rescaled(support.attribution)
        if self.settings.mask_rule == "whole":
            everything = np.ones(attribution.shape, bool)
            return {"foreground": everything, "background": ~everything}
        released = self.settings.attribution_rule == "released_code"
        if self.proposer is None and not released:
            return by_attribution(attribution, self._cuts)._asdict()
        images = support.images
        fine = enlarged(attribution, images.shape[1:3])
        if released:
            fine = rescaled(fine)
        if self.proposer is None:
            return by_attribution(attribution, self._cuts, fine)._asdict()
        with stage("masks"):
            pairs = [
                choose(one, self.proposer.masks(image), self.settings.mask_rule, self._cuts)
                for image, one in zip(images, fine, strict=True)
            ]
        return {
            "foreground": np.stack([foreground for foreground, _ in pairs]),
            "background": np.stack([background for _, background in pairs]),
        }

    def _build(
        self, support: SupportSet, extractor: Extractor, parts: int
    ) -> dict[str, npt.NDArray[Any]]:
        masks = self.masks(support)
        shown_only = self.settings.mask_rule == "released_code"
        with stage("features"):
            gathered = gather(self._features(support, extractor), masks, shown_only=shown_only)
        with stage("cluster"):
            found = [build(one, parts) for one in gathered]
        return {
            f"{region}/{part}": array
            for region, prototypes in zip(REGIONS, found, strict=True)
            for part, array in prototypes._asdict().items()
        }

    @torch.inference_mode()
    def _features(self, support: SupportSet, extractor: Extractor) -> Iterator[Tensor]:
        """Per picture ``(D, h, w)``, a few at a time."""
        images = list(support.images)
        for start in range(0, len(images), _TOGETHER):
            yield from extractor.of_support(images[start : start + _TOGETHER])


def _unpacked(found: Mapping[str, npt.NDArray[Any]], region: Region) -> Prototypes:
    return Prototypes(**{part: found[f"{region}/{part}"] for part in Prototypes._fields})
